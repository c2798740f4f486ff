package vmproc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/vmproc"
	"banger/internal/host/proc"
	"banger/internal/paths"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vmm starts a process that stands for the VMM of the VM in dir. Its command line
// names dir.
func vmm(t *testing.T, dir string, files ...*os.File) json.RawMessage {
	t.Helper()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := proc.Spawn(proc.Command{ // nobody ever writes: it waits without a child
		Path: "/bin/sh", Args: []string{"sh", "-c", `read line <"$0/fifo"`, dir},
		Env: os.Environ(), Files: append([]*os.File{nil, nil, nil}, files...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL)
		p.Close()
	})
	return vmproc.HandleOf(p)
}

// of proves that a command line is that of the VM in dir.
func of(dir string) func([]string) bool {
	return func(args []string) bool { return len(args) == 4 && args[0] == "sh" && args[3] == dir }
}

func TestFind(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	handle, others := vmm(t, dir), vmm(t, other)
	var pid struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(handle, &pid); err != nil {
		t.Fatal(err)
	}
	for name, hint := range map[string]json.RawMessage{
		"a good hint":             handle,
		"no hint":                 nil,
		"garbage":                 json.RawMessage("\x00{"),
		"another's":               others,
		"another version":         json.RawMessage(strings.Replace(string(handle), `"version":1`, `"version":2`, 1)),
		"a pid that was reused":   json.RawMessage(fmt.Sprintf(`{"version":1,"pid":%d,"start_time":1,"boot_id":"x"}`, pid.PID)),
		"a pid that cannot be":    json.RawMessage(`{"version":1,"pid":-1}`),
		"the pid of this process": json.RawMessage(fmt.Sprintf(`{"version":1,"pid":%d}`, os.Getpid())),
	} {
		m, err := vmproc.Find(t.Context(), hint, dir, of(dir))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.PID() != pid.PID || string(m.Handle()) != string(handle) || m.Dir() != dir {
			t.Errorf("%s: found %s in %s, want %s", name, m.Handle(), m.Dir(), handle)
		}
		if args, err := m.Cmdline(); err != nil || !slices.Contains(args, dir) {
			t.Errorf("%s: command line %q, %v", name, args, err)
		}
		m.Release()
	}
	if _, err := vmproc.Find(t.Context(), nil, t.TempDir(), of("/nowhere")); !errors.Is(err, driver.ErrGone) {
		t.Errorf("a VM without a process gives %v", err)
	}
}

func TestKillOnceAndAgain(t *testing.T) {
	dir := t.TempDir()
	handle := vmm(t, dir)
	m, err := vmproc.Find(t.Context(), handle, dir, of(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	if m.WithAccel("tcg").Accel() != "tcg" {
		t.Error("the accelerator is not what was set")
	}
	for range 2 {
		if err := m.Kill(t.Context()); err != nil {
			t.Error(err)
		}
	}
	select {
	case <-m.Done():
	default:
		t.Error("Kill returned before the end")
	}
	if _, err := vmproc.Find(t.Context(), handle, dir, of(dir)); !errors.Is(err, driver.ErrGone) {
		t.Errorf("a killed one is found: %v", err)
	}
}

func TestLastWords(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for said, want := range map[string]string{
		"":                        "",
		"one\n":                   "one",
		"1\n2\n3\n4\n5\n6\n7\n":   "3\n4\n5\n6\n7",
		"\xff\xfebad\n\n\n":       "?bad",
		long:                      long[:2<<10],
		"\n\n" + long + "\nend\n": long[:2<<10-5] + "\nend",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, paths.VMLog), []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := vmproc.LastWords(dir); got != want {
			t.Errorf("after %.40q: %.40q (%d bytes), want %.40q (%d bytes)", said, got, len(got), want, len(want))
		}
	}
	if got := vmproc.LastWords(t.TempDir()); got != "" {
		t.Errorf("without a log: %q", got)
	}
}

// TestListenIsThereAtOnce: the socket takes connections before the VMM accepts.
func TestListenIsThereAtOnce(t *testing.T) {
	dir := t.TempDir()
	handle := func() json.RawMessage {
		f, err := vmproc.Listen(filepath.Join(dir, paths.VMAgentSocket))
		if err != nil {
			t.Fatal(err)
		}
		files := vmproc.Files{f}
		defer files.Close()
		return vmm(t, dir, files...)
	}()
	m, err := vmproc.Find(t.Context(), handle, dir, of(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	c, err := m.DialGuest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var timeout net.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a VMM that has not answered yet gives %v", err)
	}
	c.Close()
	if _, err := vmproc.Listen(filepath.Join(dir, "absent", "x.sock")); api.KindOf(err) != api.KindInternal {
		t.Errorf("a socket in an absent directory gives %v", err)
	}
}

func TestHostError(t *testing.T) {
	if err := vmproc.HostError("cannot", syscall.ENOSPC); api.KindOf(err) != api.KindNoSpace {
		t.Error(err)
	}
	if err := vmproc.HostError("cannot", syscall.EIO); api.KindOf(err) != api.KindInternal {
		t.Error(err)
	}
}
