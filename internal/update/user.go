package update

import (
	"context"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/daemonstart"
	"banger/internal/host/proc"
	"banger/internal/paths"
	"banger/internal/update/programs"
)

// OfUser returns a user's own installation, with programs below prefix. It has one
// daemon, and does not use systemd.
func OfUser(p paths.Paths, prefix string, report func(string)) Machine {
	c := daemonstart.Running(p)
	m := Machine{Place: UserPlace(p, prefix), Deps: sharedDeps(programs.Programs{}, c), Report: report}
	// The first request starts this version's daemon if none runs.
	m.Operations = daemonstart.Client(p).Operations().List
	var halted *daemonstart.Halted
	m.StopDaemon = func(ctx context.Context) (err error) {
		if halted == nil {
			halted, err = daemonstart.Halt(ctx, p)
		}
		return err
	}
	m.StopAll = m.StopDaemon
	m.Start = func(ctx context.Context, dir string) error {
		if err := m.StopDaemon(ctx); err != nil {
			return err
		}
		if err := halted.Start(ctx, filepath.Join(dir, "bangerd")); err != nil {
			return err
		}
		halted = nil
		return nil
	}
	m.Daemons = func(ctx context.Context) ([]int, error) {
		s, err := c.Daemon().Status(ctx)
		return []int{s.PID}, err
	}
	m.Answers = func(ctx context.Context) ([]string, error) {
		s, err := c.Daemon().Status(ctx)
		return []string{s.Version}, err
	}
	return m
}

// Prefix returns the directory that holds the versions, given the directory of the
// running program. If that is not an installed release, the error says how it is
// updated.
func Prefix(dir string) (string, error) {
	prefix, version := filepath.Dir(filepath.Dir(dir)), filepath.Base(dir)
	target, err := os.Readlink(filepath.Join(prefix, currentLink))
	if filepath.Base(filepath.Dir(dir)) == versionsDir && err == nil && target == filepath.Join(versionsDir, version) {
		return prefix, nil
	}
	refusal := api.Errorf(api.KindUnsupported, "cannot update the programs in %s: no release was installed there", dir)
	switch filepath.Dir(dir) {
	case "/usr/lib", "/usr/bin", "/usr":
		return "", refusal.WithHint("the system's package manager updates them")
	}
	return "", refusal.WithHint("install.sh installs a release; make build makes newer programs of a checkout")
}

// sessionLauncher runs the updater in a session of its own.
type sessionLauncher struct {
	m       Machine
	process *proc.Process
	starts  int
}

// UserLauncher starts the updater as a child process.
func UserLauncher(m Machine) Launcher { return &sessionLauncher{m: m} }

func (l *sessionLauncher) Launch(context.Context) error {
	log, err := l.m.OpenLog()
	if err != nil {
		return err
	}
	defer log.Close()
	l.starts++
	l.process, err = proc.Spawn(proc.Command{
		Path: l.m.updater(), Args: []string{"banger", "update-apply"}, Env: os.Environ(), Files: []*os.File{nil, log, log},
	})
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot start the updater: %w", err)
	}
	return nil
}

// Watch starts the updater again if it was killed, as systemd does in system mode.
func (l *sessionLauncher) Watch(ctx context.Context) (<-chan struct{}, error) {
	if l.process.Ended() {
		if l.starts > maxAttempts {
			return nil, errGone
		}
		if err := l.Launch(ctx); err != nil {
			return nil, err
		}
	}
	return l.process.Done(), nil
}

// RecoverUser is called before a user's daemon is started, while no other process can
// start it. If an update was interrupted and no updater runs, RecoverUser rolls it back
// or finishes it first. It returns the path of the daemon's program to start then.
func RecoverUser(ctx context.Context, p paths.Paths, dir string, report func(string)) (string, error) {
	place := UserPlace(p, "")
	if _, err := os.Lstat(place.Journal()); err != nil {
		return "", nil
	}
	prefix, err := PrefixOf(dir)
	if err != nil {
		return "", nil // another banger of the same user, which the update does not concern
	}
	m := OfUser(p, prefix, report)
	did, err := m.Recover(ctx)
	if api.KindOf(err) == api.KindConflict {
		return "", nil // an updater runs, and starts the daemon itself
	}
	if err != nil || !did {
		return "", err
	}
	return filepath.Join(m.Dir(m.Current()), "bangerd"), nil
}

// PrefixOf is Prefix without checking the link: this program may be the version that
// was not proven.
func PrefixOf(dir string) (string, error) {
	if filepath.Base(filepath.Dir(dir)) != versionsDir {
		return "", api.Errorf(api.KindUnsupported, "cannot carry out an update with the programs in %s: no release was installed there", dir)
	}
	return filepath.Dir(filepath.Dir(dir)), nil
}
