package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"banger/internal/host/systemd"
)

// fixture is a machine below a temporary directory, with a systemd that notes what
// it was told.
type fixture struct {
	*Host
	t      *testing.T
	from   string
	calls  []string
	vms    []string // units of VMs that run
	stops  bool     // StopVMs stops them
	fails  map[string]error
	mute   bool // the daemon does not answer
	active string
	load   string
	traces int // how often RemoveTraces was called
	used   FirecrackerState
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	base := t.TempDir()
	fx := &fixture{t: t, from: filepath.Join(base, "bin"), active: "active", load: "loaded", fails: map[string]error{}}
	fx.Host = &Host{
		Root: filepath.Join(base, "root"), UID: os.Getuid(), Superuser: os.Getuid(),
		Connect:   func(context.Context) (Manager, error) { return fakeManager{fx}, fx.fails["connect"] },
		Chown:     func(string, int, int) error { return nil },
		Getent:    func(context.Context, string) (string, error) { return "", nil },
		AskHelper: func(context.Context) (Answer, error) { return Answer{Version: "v1"}, nil },
		AskDaemon: func(context.Context) (Answer, error) {
			if fx.mute {
				return Answer{}, errors.New("no answer")
			}
			return Answer{Version: "v1", Running: len(fx.vms)}, nil
		},
		AskFirecracker: func(context.Context) FirecrackerState { return fx.used },
		AskNames:       func(context.Context) NamesState { return NamesState{Problem: "no resolver"} },
		StopVMs: func(context.Context) error {
			fx.note("StopVMs")
			if !fx.stops {
				return errors.New("the daemon is away")
			}
			fx.vms = nil
			return nil
		},
		RemoveTraces: func(context.Context) error { fx.traces++; return fx.fails["traces"] },
		Now:          func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	}
	for _, name := range programs {
		fx.write(filepath.Join("..", "bin", name), "program "+name, 0o755)
	}
	for _, dir := range []string{"/usr/local/bin", "/home/alice", "/run/systemd/system", "/etc/udev/rules.d", "/var"} {
		if err := os.MkdirAll(fx.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fx.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n", 0o644)
	fx.write("/etc/group", "root:x:0:\nalice:x:1000:\n", 0o644)
	fx.write(ipForwardFile, "0\n", 0o644)
	return fx
}

func (fx *fixture) path(p string) string { return fx.files().path(p) }

func (fx *fixture) version() string { return programDir{fx.files()}.version() }

func (fx *fixture) write(path, text string, mode os.FileMode) {
	fx.t.Helper()
	full := filepath.Join(fx.Root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), mode)); err != nil {
		fx.t.Fatal(err)
	}
}

func (fx *fixture) read(path string) string {
	fx.t.Helper()
	data, err := os.ReadFile(fx.path(path))
	if err != nil {
		fx.t.Fatal(err)
	}
	return string(data)
}

func (fx *fixture) options() InstallOptions {
	return InstallOptions{Owner: "alice", From: fx.from, Build: Build{Version: "v1", Commit: "abc"}}
}

func (fx *fixture) install(change ...func(*InstallOptions)) error {
	o := fx.options()
	for _, c := range change {
		c(&o)
	}
	_, err := fx.Install(fx.t.Context(), o, func(string) {})
	return err
}

// tree is every path of the machine with its mode, and links with their targets.
func (fx *fixture) tree() string {
	fx.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(fx.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rest := "/" + strings.TrimPrefix(strings.TrimPrefix(path, fx.Root), "/")
		if target, err := os.Readlink(path); err == nil {
			fmt.Fprintf(&b, "link %s -> %s\n", rest, target)
		} else {
			fmt.Fprintf(&b, "%v %s\n", info.Mode(), rest)
		}
		return nil
	})
	if err != nil {
		fx.t.Fatal(err)
	}
	return b.String()
}

func (fx *fixture) note(call string) { fx.calls = append(fx.calls, call) }

func (fx *fixture) do(call string, units ...string) error {
	call = strings.TrimSpace(call + " " + strings.Join(units, " "))
	fx.note(call)
	return fx.fails[call]
}

// fakeManager is the fixture's systemd.
type fakeManager struct{ w *fixture }

func (m fakeManager) Reload(context.Context) error { return m.w.do("reload") }
func (m fakeManager) Enable(_ context.Context, units ...string) error {
	return m.w.do("enable", units...)
}
func (m fakeManager) Disable(_ context.Context, units ...string) error {
	return m.w.do("disable", units...)
}
func (m fakeManager) Restart(_ context.Context, unit string) error     { return m.w.do("restart", unit) }
func (m fakeManager) ResetFailed(_ context.Context, unit string) error { return m.w.do("reset", unit) }
func (m fakeManager) Stop(_ context.Context, unit string) error {
	m.w.vms = slices.DeleteFunc(m.w.vms, func(vm string) bool { return vm == unit })
	return m.w.do("stop", unit)
}
func (m fakeManager) State(context.Context, string) (systemd.State, error) {
	return systemd.State{Active: m.w.active, Load: m.w.load, Enabled: "enabled", MainPID: 7, Since: m.w.Now()}, m.w.fails["state"]
}
func (m fakeManager) List(context.Context, string) (units []systemd.UnitStatus, err error) {
	for _, vm := range m.w.vms {
		units = append(units, systemd.UnitStatus{Name: vm, Active: "active"})
	}
	return append(units, systemd.UnitStatus{Name: "banger-vm-000000000000.service", Active: "failed"}), m.w.fails["list"]
}
