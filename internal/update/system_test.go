package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"banger/internal/host/systemd"
	"banger/internal/system"
	"banger/internal/system/record"
)

// fakeSystemd notes what it is told.
type fakeSystemd struct {
	system.Manager
	calls []string
}

func (f *fakeSystemd) note(call string, units ...string) error {
	f.calls = append(f.calls, strings.TrimSpace(call+" "+strings.Join(units, " ")))
	return nil
}
func (f *fakeSystemd) Reload(context.Context) error                  { return f.note("reload") }
func (f *fakeSystemd) Enable(_ context.Context, u ...string) error   { return f.note("enable", u...) }
func (f *fakeSystemd) Disable(_ context.Context, u ...string) error  { return f.note("disable", u...) }
func (f *fakeSystemd) Restart(_ context.Context, u string) error     { return f.note("restart", u) }
func (f *fakeSystemd) Stop(_ context.Context, u string) error        { return f.note("stop", u) }
func (f *fakeSystemd) ResetFailed(_ context.Context, u string) error { return f.note("reset", u) }
func (f *fakeSystemd) State(_ context.Context, u string) (systemd.State, error) {
	return systemd.State{MainPID: len(u)}, f.note("state", u)
}

func ofSystem(f *fakeSystemd) Machine {
	h := &system.Host{
		Connect: func(context.Context) (system.Manager, error) { return f, nil },
		AskHelper: func(context.Context) (system.Answer, error) {
			return system.Answer{Version: "v2"}, f.note("ask helper")
		},
		AskDaemon: func(context.Context) (system.Answer, error) {
			return system.Answer{Version: "v1"}, f.note("ask daemon")
		},
	}
	return OfSystem(h, record.Record{Owner: "alice", UID: 1000, GID: 1000, Home: "/home/alice"}, func(string) {})
}

func TestWhatSystemdIsAsked(t *testing.T) {
	for want, do := range map[string]func(Machine) error{
		"stop bangerd.service":                                                 func(m Machine) error { return m.StopDaemon(t.Context()) },
		"stop bangerd.service, stop bangerd-root.service":                      func(m Machine) error { return m.StopAll(t.Context()) },
		"reset bangerd-root.service, restart bangerd-root.service, ask helper": func(m Machine) error { return m.StartHelper(t.Context()) },
		"reset bangerd.service, restart bangerd.service, ask daemon":           func(m Machine) error { return m.Start(t.Context(), "") },
		"reload": func(m Machine) error { return m.Reload(t.Context(), nil, nil) },
		// What is disabled still has its file, what is enabled has been read.
		"disable b.service, reload, enable a.service": func(m Machine) error {
			return m.Reload(t.Context(), []string{"a.service"}, []string{"b.service"})
		},
		"ask helper, ask daemon": func(m Machine) error {
			got, err := m.Answers(t.Context())
			if !slices.Equal(got, []string{"v2", "v1"}) {
				t.Error(got)
			}
			return err
		},
		"state bangerd-root.service, state bangerd.service": func(m Machine) error {
			got, err := m.Daemons(t.Context())
			if !slices.Equal(got, []int{len(system.HelperUnit), len(system.DaemonUnit)}) {
				t.Error(got)
			}
			return err
		},
	} {
		f := &fakeSystemd{}
		if err := do(ofSystem(f)); err != nil {
			t.Error(err)
		}
		if got := strings.Join(f.calls, ", "); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

func TestFilesOfAProgram(t *testing.T) {
	const mark = "# Written by `banger system install`\n"
	good := map[string]string{
		"/etc/systemd/system/bangerd.service": mark + "B", "/etc/systemd/system/bangerd-root.service": mark + "R",
		"/etc/udev/rules.d/59-banger.rules": mark,
	}
	for name, c := range map[string]struct {
		change func(map[string]string)
		fails  bool
	}{
		"good":           {func(map[string]string) {}, false},
		"another's unit": {func(f map[string]string) { f["/etc/systemd/system/ssh.service"] = mark }, true},
		"another's file": {func(f map[string]string) { f["/etc/passwd"] = mark }, true},
		"half of them":   {func(f map[string]string) { delete(f, "/etc/systemd/system/bangerd.service") }, true},
	} {
		files := map[string]string{}
		for k, v := range good {
			files[k] = v
		}
		c.change(files)
		data, err := json.Marshal(files)
		if err != nil {
			t.Fatal(err)
		}
		dir := script(t, "banger", "[ \"$1\" = update-files ] && cat <<'END'\n"+string(data)+"\nEND")
		got, err := systemFiles(t.Context(), dir)
		if (err != nil) != c.fails || err == nil && (len(got) != len(good) || got[0].Path != "/etc/systemd/system/bangerd-root.service") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, text := range []string{"exit 1", "echo '[]'", "echo '{'"} {
		if _, err := systemFiles(t.Context(), script(t, "banger", text)); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestRootAsksForItsFiles: root writes them, so that nobody but root may speak for the
// program that says them.
func TestRootAsksForItsFiles(t *testing.T) {
	const text = "# Written by `banger system install` for UID\n"
	data, err := json.Marshal(map[string]string{
		"/etc/systemd/system/bangerd.service": text, "/etc/systemd/system/bangerd-root.service": text,
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := script(t, "banger", "sed \"s/UID/$(id -u) $HTTPS_PROXY/\" <<'END'\n"+string(data)+"\nEND")
	t.Setenv("HTTPS_PROXY", "http://root:secret@proxy")
	want := strings.ReplaceAll(text, "UID", fmt.Sprintf("%d ", os.Getuid()))
	if got, err := ofSystem(&fakeSystemd{}).Files(t.Context(), dir); err != nil || len(got) != 2 || got[0].Text != want {
		t.Errorf("%v, %v", got, err)
	}
}
