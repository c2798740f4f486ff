package update

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/host/fsx"
	"banger/internal/op"
	"banger/internal/update/archive"
	"banger/internal/update/journal"
	"banger/internal/update/programs"
	"banger/internal/update/release"
	"banger/internal/update/repo"
)

// Source is where releases come from; *repo.Repository is one.
type Source interface {
	Refresh(ctx context.Context) error
	Warnings() []string
	Latest() (repo.Target, bool)
	Find(version string) (repo.Target, error)
	Download(ctx context.Context, t repo.Target, dir string, progress func(done, total int64)) (string, error)
}

// Options select the version to update to, and how.
type Options struct {
	To     string // a version; empty: the latest
	Force  bool
	DryRun bool
	// UnprovenDaemon: programs that run as the owner cannot prevent the update.
	UnprovenDaemon bool
	Settle         time.Duration
	Progress       api.Report // of the download; may be nil
}

// Plan is what an update would do.
type Plan struct {
	From, To journal.Build
	Schema   programs.Schema
	Files    []journal.Content // that change
	Commands []commands.Link   // that the new version has, and this installation has not
	Begun    bool              // the journal is written: start the updater
}

// Find asks a repository for the release to update to. It reports whether that is
// another version than the installed one.
func Find(ctx context.Context, src Source, from journal.Build, to string, report func(string)) (repo.Target, bool, error) {
	report("asking the repository")
	if err := src.Refresh(ctx); err != nil {
		return repo.Target{}, false, err
	}
	for _, w := range src.Warnings() {
		report(w)
	}
	target, found := src.Latest()
	if to != "" {
		if !release.ValidVersion(to) {
			return target, false, api.Errorf(api.KindInvalid, "cannot update to %q: it is not a valid version", to).WithHint("banger update --to v1.2.3")
		}
		var err error
		if target, err = src.Find(to); err != nil {
			return target, false, err
		}
	} else if !found || release.ValidVersion(from.Version) && release.Compare(target.Version, from.Version) <= 0 {
		return target, false, nil
	}
	if target.Version == from.Version {
		return target, false, nil
	}
	if release.ValidVersion(from.Version) && !target.MayReplace(from.Version) {
		return target, false, api.Errorf(api.KindDenied, "cannot downgrade from %s to %s: that release does not allow it", from.Version, target.Version).
			WithHint("banger update --rollback   returns to the version before the newest update")
	}
	return target, true, nil
}

// Begin prepares the update to a release: everything except what the updater does. If
// it fails, and always with DryRun, the installation stays as it was.
func (m Machine) Begin(ctx context.Context, src Source, t repo.Target, from journal.Build, o Options) (Plan, error) {
	to := journal.Build{Version: t.Version, Commit: t.Commit, BuiltAt: t.BuiltAt}
	return m.begin(ctx, from, to, o, func(ctx context.Context, p *Plan, j *journal.Journal) error {
		stage, err := m.stage(ctx, src, t, o.Progress)
		if err != nil {
			return err
		}
		defer os.RemoveAll(filepath.Dir(stage))
		if err := m.examine(ctx, stage, p, o.UnprovenDaemon); err != nil {
			return err
		}
		if p.Schema.Cannot != "" {
			err := api.Errorf(api.KindUnsupported, "cannot update to %s: it cannot use the store: %s", to.Version, p.Schema.Cannot)
			if err := m.reportOrFail(ctx, o.UnprovenDaemon, err); err != nil {
				return err
			}
		}
		j.Migrates = p.Schema.Have < p.Schema.Known
		if p.Commands, err = m.unlinked(ctx, stage); err != nil || o.DryRun {
			return err
		}
		return m.installStage(stage, to.Version)
	})
}

// begin does what updates and rollbacks have in common; find locates the programs and
// examines them.
func (m Machine) begin(ctx context.Context, from, to journal.Build, o Options,
	find func(context.Context, *Plan, *journal.Journal) error) (Plan, error) {
	plan := Plan{From: from, To: to}
	unlock, err := m.lockFor(ctx, false)
	if err != nil {
		return plan, err
	}
	defer unlock()
	if _, err := os.Lstat(m.Journal()); err == nil {
		return plan, api.Errorf(api.KindConflict, "cannot start an update: another one has not ended").WithHint("%s", m.command())
	}
	if m.Current() != from.Version {
		return plan, api.Errorf(api.KindConflict, "cannot update: version %s is installed and the programs are %s", from.Version, m.Current())
	}
	_, err = m.unfinished(ctx, o.Force)
	if err := m.reportOrFail(ctx, o.UnprovenDaemon, err); err != nil {
		return plan, err
	}
	boot, err := m.BootID()
	if err != nil {
		return plan, err
	}
	j := journal.Journal{
		Format: journal.Format, ID: op.NewID(), State: journal.Prepared, From: from, To: to,
		Force: o.Force, UnprovenDaemon: o.UnprovenDaemon, Settle: o.Settle, BootID: boot, StartedAt: m.Now().UTC(),
	}
	if err := find(ctx, &plan, &j); err != nil || o.DryRun {
		return plan, err
	}
	// The download took a while, and not every installer takes the lock.
	if now := m.Current(); now != from.Version {
		return plan, api.Errorf(api.KindConflict, "cannot update: version %s was installed in the meantime instead of %s", now, from.Version)
	}
	j.Files = plan.Files
	for _, c := range plan.Commands {
		j.Commands = append(j.Commands, c.Name)
	}
	plan.Begun = true
	return plan, m.writeJournal(j)
}

// writeJournal starts the update. The link to the version that carries it out is made
// before anything refers to it.
func (m Machine) writeJournal(j journal.Journal) error {
	err := fsx.Relink(filepath.Join(versionsDir, j.From.Version), filepath.Join(m.Prefix, updatingLink))
	if err == nil {
		err = fsx.WriteFile(filepath.Join(m.State, spareFile), make([]byte, spareSize), 0o600)
	}
	if err != nil {
		return fsx.DiskError("start the update", err)
	}
	return j.Write(m.Journal())
}

// stage downloads and unpacks a release, into a directory beside the versions.
func (m Machine) stage(ctx context.Context, src Source, t repo.Target, progress api.Report) (string, error) {
	versions := filepath.Join(m.Prefix, versionsDir)
	if err := removeStages(versions); err != nil {
		return "", fsx.DiskError("stage the new version", err)
	}
	top, err := os.MkdirTemp(versions, stagePrefix)
	if err != nil {
		return "", fsx.DiskError("stage the new version", err)
	}
	stage := filepath.Join(top, t.Version)
	err = os.Chmod(top, 0o755) // the owner runs what is in it
	if err == nil {
		err = m.downloadAndUnpack(ctx, src, t, top, stage, progress)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(top))
	}
	return stage, nil
}

func (m Machine) downloadAndUnpack(ctx context.Context, src Source, t repo.Target, top, stage string, progress api.Report) error {
	m.Report("downloading version " + t.Version)
	path, err := src.Download(ctx, t, top, func(done, total int64) {
		if progress != nil {
			progress(api.Progress{Step: "download", Message: "downloading " + t.Name, Done: done, Total: total, Unit: "bytes"})
		}
	})
	if err != nil {
		return err
	}
	m.Report("unpacking it")
	file, err := os.Open(path)
	if err != nil {
		return api.AsError(err)
	}
	defer file.Close()
	if err := archive.Unpack(file, stage); err != nil {
		return err
	}
	return os.Remove(path)
}

// removeStages removes the directories of killed updates.
func removeStages(versions string) error {
	stages, err := filepath.Glob(filepath.Join(versions, stagePrefix+"*"))
	for _, s := range stages {
		err = errors.Join(err, os.RemoveAll(s))
	}
	return err
}

// examine runs the programs in dir and finds out what they would change.
func (m Machine) examine(ctx context.Context, dir string, p *Plan, unproven bool) error {
	m.Report("checking that it runs")
	version, err := m.Deps.Version(ctx, dir)
	if err != nil {
		return err
	}
	if version != p.To.Version {
		return api.Errorf(api.KindDenied, "cannot trust version %s: its program reports version %s", p.To.Version, version)
	}
	p.Schema, err = m.Migrations(ctx, dir)
	if err := m.reportOrFail(ctx, unproven, err); err != nil {
		return err
	}
	files, err := m.Deps.Files(ctx, dir)
	if err != nil {
		return err
	}
	p.Files, err = changes(files)
	return err
}

// installStage moves a stage to its version's directory.
func (m Machine) installStage(stage, version string) error {
	to := m.Dir(version)
	if version == m.Current() {
		return api.Errorf(api.KindConflict, "cannot replace version %s: it is the one that runs", version)
	}
	err := fsx.SyncDir(stage)
	if err == nil {
		err = fsx.Swap(stage, to, false)
	}
	if err == nil {
		err = fsx.SyncDir(filepath.Dir(to))
	}
	return fsx.DiskError(fmt.Sprintf("install version %s", version), err)
}
