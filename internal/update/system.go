package update

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/daemonstart"
	"banger/internal/host/proc"
	"banger/internal/host/systemd"
	"banger/internal/system"
	"banger/internal/system/record"
	"banger/internal/update/journal"
	"banger/internal/update/programs"
)

// tick is how often a new version is checked while it settles.
const tick = time.Second

// OfSystem returns this machine's installation.
func OfSystem(h *system.Host, r record.Record, report func(string)) Machine {
	p := programs.Programs{
		System: true,
		Owner:  &syscall.Credential{Uid: uint32(r.UID), Gid: uint32(r.GID)},
		Env:    []string{"HOME=" + r.Home},
	}
	m := Machine{Place: SystemPlace(), Deps: sharedDeps(p, daemonstart.System()), Report: report}
	m.Owner = r.UID
	m.Deps.Files = systemFiles
	m.StopDaemon = func(ctx context.Context) error { return stopUnits(ctx, h, system.DaemonUnit) }
	m.StopAll = func(ctx context.Context) error { return stopUnits(ctx, h, system.DaemonUnit, system.HelperUnit) }
	m.StartHelper = h.StartHelper
	m.Start = func(ctx context.Context, _ string) error { return h.StartDaemon(ctx) }
	m.Reload = func(ctx context.Context, enable, disable []string) error { return reload(ctx, h, enable, disable) }
	m.Daemons = func(ctx context.Context) ([]int, error) { return unitPIDs(ctx, h) }
	m.Answers = func(ctx context.Context) ([]string, error) {
		helper, err := h.AskHelper(ctx)
		if err != nil {
			return nil, err
		}
		daemon, err := h.AskDaemon(ctx)
		return []string{helper.Version, daemon.Version}, err
	}
	m.Helper = func(ctx context.Context) (string, int, error) {
		helper, err := h.AskHelper(ctx)
		if err != nil {
			return "", 0, err
		}
		pids, err := unitPIDs(ctx, h)
		if err != nil {
			return "", 0, err
		}
		return helper.Version, pids[0], nil
	}
	m.Record = func(b journal.Build) error {
		return h.SetBuild(func(r *record.Record) { r.Version, r.Commit, r.BuiltAt = b.Version, b.Commit, b.BuiltAt })
	}
	return m
}

// sharedDeps returns what both modes have in common.
func sharedDeps(p programs.Programs, c *client.Client) Deps {
	return Deps{
		Version: p.Version, Migrations: p.Migrations, Commands: p.Commands, BackUp: p.BackUp, Restore: p.Restore,
		Files:       func(context.Context, string) ([]File, error) { return nil, nil },
		Reload:      func(context.Context, []string, []string) error { return nil },
		StartHelper: func(context.Context) error { return nil },
		Operations:  c.Operations().List,
		VMs:         c.VMs().List,
		Doctor: func(ctx context.Context) ([]api.Check, error) {
			found, err := c.Daemon().Doctor(ctx)
			return found.Checks, err
		},
		Exec: func(ctx context.Context, id string) error {
			s, err := c.Guest(id).Exec(ctx, api.Exec{Argv: []string{"true"}})
			if err != nil {
				return err
			}
			defer s.Close()
			exit, err := s.Wait(ctx)
			if err == nil && exit.Code != 0 {
				err = api.Errorf(api.KindInternal, "true ended with status %d", exit.Code)
			}
			return err
		},
		Identify: identify, BootID: proc.BootID, Now: time.Now, Tick: tick,
		Record: func(journal.Build) error { return nil },
	}
}

func identify(pid int) (proc.Identity, error) {
	p, err := proc.Open(pid)
	if err != nil {
		return proc.Identity{}, err
	}
	defer p.Close()
	if p.Ended() {
		return proc.Identity{}, proc.ErrGone
	}
	return p.Identity(), nil
}

func systemFiles(ctx context.Context, dir string) ([]File, error) {
	texts, err := programs.Files(ctx, dir)
	if err == nil {
		err = system.CheckFiles(texts)
	}
	if err != nil {
		return nil, api.Errorf(api.KindUnsupported, "cannot use the new version's unit files: %w", err)
	}
	var all []File
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		all = append(all, File{path, texts[path]})
	}
	return all, nil
}

func stopUnits(ctx context.Context, h *system.Host, units ...string) error {
	m, err := h.Connect(ctx)
	if err != nil {
		return err
	}
	for _, unit := range units {
		if err := m.Stop(ctx, unit); err != nil {
			return err
		}
	}
	return nil
}

func reload(ctx context.Context, h *system.Host, enable, disable []string) error {
	m, err := h.Connect(ctx)
	if err != nil {
		return err
	}
	if len(disable) > 0 {
		if err := m.Disable(ctx, disable...); err != nil {
			return err
		}
	}
	if err := m.Reload(ctx); err != nil || len(enable) == 0 {
		return err
	}
	return m.Enable(ctx, enable...)
}

func unitPIDs(ctx context.Context, h *system.Host) ([]int, error) {
	m, err := h.Connect(ctx)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, unit := range []string{system.HelperUnit, system.DaemonUnit} {
		s, err := m.State(ctx, unit)
		if err != nil {
			return nil, err
		}
		pids = append(pids, s.MainPID)
	}
	return pids, nil
}

// unitLauncher starts and watches system.UpdateUnit.
type unitLauncher struct {
	m   Machine
	bus *systemd.Bus
	env []string
}

// SystemLauncher has systemd run the updater; env are variables for it.
func SystemLauncher(ctx context.Context, m Machine, env []string) (Launcher, error) {
	bus, err := systemd.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &unitLauncher{m, bus, env}, nil
}

func (l *unitLauncher) Launch(ctx context.Context) error {
	log, err := l.m.OpenLog()
	if err != nil {
		return err
	}
	log.Close() // a follower may open it from now on
	// A failed unit keeps its name until it is reset.
	if err := l.bus.ResetFailed(ctx, system.UpdateUnit); err != nil {
		return err
	}
	return l.bus.StartTransient(ctx, systemd.Unit{
		Name: system.UpdateUnit, Description: "Update of banger",
		Exec:        []string{l.m.updater(), "update-apply"},
		Environment: slices.Concat(programs.RootEnv, l.env),
		Restart:     "on-failure", RestartDelay: restartDelay,
	})
}

// AlsoLog lets an updater that systemd runs write its reports to the log as well, for
// whoever follows it.
func (m *Machine) AlsoLog() (closeLog func() error, err error) {
	log, err := m.OpenLog()
	if err != nil {
		return nil, err
	}
	say := m.Report
	m.Report = func(line string) {
		say(line)
		fmt.Fprintln(log, logPrefix+line) // on a full disk only the report is lost
	}
	return log.Close, nil
}

// restartDelay keeps a few crashes of the updater below systemd's limit of five starts
// in ten seconds (systemd-system.conf(5)).
const restartDelay = 2500 * time.Millisecond

func (l *unitLauncher) Watch(ctx context.Context) (<-chan struct{}, error) {
	s, err := l.bus.State(ctx, system.UpdateUnit)
	if err != nil {
		return nil, err
	}
	switch {
	case s.Active == "activating" || s.Active == "reloading":
		return nil, nil // it is about to be started again
	case s.Active != "active" || s.MainPID == 0:
		return nil, errGone
	}
	return watchPID(s.MainPID), nil
}

// watchPID returns a channel that is closed when a process has ended.
func watchPID(pid int) <-chan struct{} {
	p, err := proc.Open(pid)
	if err != nil {
		gone := make(chan struct{})
		close(gone)
		return gone
	}
	return p.Done()
}

// updater returns the program that carries out an update: that of the version before
// it.
func (m Machine) updater() string {
	link := m.Prefix + "/" + updatingLink
	if target, err := os.Readlink(link); err == nil {
		return m.Prefix + "/" + target + "/banger"
	}
	return m.Dir(m.Current()) + "/banger"
}
