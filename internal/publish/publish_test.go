package publish

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/host/proc"
	"banger/internal/paths"
)

func TestMain(m *testing.M) {
	// A forwarder starts the daemon for a connection that comes in: this program again.
	// It must not run the tests, which would start more.
	if os.Getenv(api.ReadyEnv) != "" {
		fmt.Fprintln(os.Stderr, "there is no daemon here")
		os.Exit(1)
	}
	Main()
	goleak.VerifyTestMain(m)
}

const id = "0123456789ab"

// fixture is a home with one VM, and no daemon that could be asked for its guest.
func fixture(t *testing.T) paths.Paths {
	home := t.TempDir()
	t.Setenv("BANGER_HOME", home)
	p, err := paths.User()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(p.VM(id), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if said, err := os.ReadFile(filepath.Join(p.VM(id), paths.VMPortsLog)); err == nil && len(said) > 0 {
			t.Logf("the forwarder said: %s", said)
		}
	})
	return p
}

func manager(t *testing.T, p paths.Paths) *Manager {
	m := NewManager(p, false, slog.New(slog.DiscardHandler))
	t.Cleanup(m.Detach)
	return m
}

func open(t *testing.T, m *Manager, ports ...api.PublishedPort) []api.PublishedPort {
	t.Helper()
	chosen, err := m.Open(t.Context(), id, ports)
	if err != nil {
		t.Fatal(err)
	}
	return chosen
}

// published says of every VM that these are its ports.
func published(ports []api.PublishedPort) func(string) []api.PublishedPort {
	return func(string) []api.PublishedPort { return ports }
}

func listens(p api.PublishedPort) bool {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.HostPort))
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// free tells whether a port is not listened on. A process that is being started has
// its parent's sockets until it runs its program.
func free(p api.PublishedPort) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !listens(p) {
			return true
		}
	}
	return false
}

func tcp(port int) api.PublishedPort {
	return api.PublishedPort{Address: "127.0.0.1", HostPort: port, GuestPort: 80, Protocol: "tcp"}
}

// TestForwarderOutlivesItsManager, is found again, and follows what is published.
func TestForwarderOutlivesItsManager(t *testing.T) {
	p := fixture(t)
	first := NewManager(p, false, slog.New(slog.DiscardHandler))
	ports := open(t, first, tcp(0), tcp(0))
	if ports[0].HostPort == 0 || ports[0] == ports[1] || !listens(ports[0]) || !listens(ports[1]) {
		t.Fatalf("%v", ports)
	}
	pid := first.vms[id].process.PID()
	first.Detach()
	if !listens(ports[0]) {
		t.Error("it ended with the daemon")
	}
	second := manager(t, p)
	ended, err := second.Recover(t.Context(), published(ports))
	if err != nil || len(ended) != 0 || second.vms[id] == nil || second.vms[id].process.PID() != pid {
		t.Fatalf("%v, %v, %v", ended, err, second.vms)
	}
	if again := open(t, second, ports[1]); again[0] != ports[1] || !free(ports[0]) || !listens(ports[1]) {
		t.Errorf("%v, of which one is left", again)
	}
	second.Close(t.Context(), id)
	if !free(ports[1]) {
		t.Error("it goes on")
	}
	if _, err := os.Lstat(filepath.Join(p.VM(id), paths.VMPortsSocket)); !os.IsNotExist(err) {
		t.Errorf("its socket: %v", err)
	}
}

// TestForwarderOfNoVM is ended by the next daemon.
func TestForwarderOfNoVM(t *testing.T) {
	p := fixture(t)
	first := NewManager(p, false, slog.New(slog.DiscardHandler))
	ports := open(t, first, tcp(0))
	first.Detach()
	ended, err := manager(t, p).Recover(t.Context(), published(nil))
	if err != nil || len(ended) != 1 || ended[0] != id || !free(ports[0]) {
		t.Errorf("%v, %v", ended, err)
	}
}

// TestForwarderDies: another takes its place, on the same ports.
func TestForwarderDies(t *testing.T) {
	m := manager(t, fixture(t))
	ports := open(t, m, tcp(0))
	kill(t, m)
	await(t, ports[0])
	m.Close(t.Context(), id)
}

// TestFoundForwarderDies: another takes its place, also where nothing has been asked of
// it since it was found.
func TestFoundForwarderDies(t *testing.T) {
	p := fixture(t)
	first := NewManager(p, false, slog.New(slog.DiscardHandler))
	ports := open(t, first, tcp(0))
	first.Detach()
	m := manager(t, p)
	if _, err := m.Recover(t.Context(), published(ports)); err != nil {
		t.Fatal(err)
	}
	kill(t, m)
	await(t, ports[0])
	m.Close(t.Context(), id)
}

// TestReopenTriesOn while another program has one of the ports, whether or not a
// forwarder serves the others.
func TestReopenTriesOn(t *testing.T) {
	for name, before := range map[string]int{"no forwarder": 0, "a forwarder": 1} {
		t.Run(name, func(t *testing.T) {
			m := manager(t, fixture(t))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var ports []api.PublishedPort
			if before > 0 {
				ports = open(t, m, tcp(0))
			}
			taken := tcp(l.Addr().(*net.TCPAddr).Port)
			err = m.Reopen(t.Context(), id, append(ports, taken))
			l.Close()
			if api.KindOf(err) != api.KindConflict {
				t.Errorf("%v", err)
			}
			await(t, taken)
			for _, p := range ports {
				await(t, p)
			}
			m.Close(t.Context(), id)
		})
	}
}

// TestReopenIsGivenUp where the ports were closed meanwhile.
func TestReopenIsGivenUp(t *testing.T) {
	m := manager(t, fixture(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := m.Reopen(t.Context(), id, []api.PublishedPort{tcp(l.Addr().(*net.TCPAddr).Port)}); err == nil {
		t.Error("a port was taken twice")
	}
	s := m.vms[id]
	m.Close(t.Context(), id)
	if err := m.replace(id, s); err != nil || len(m.vms) != 0 {
		t.Errorf("%v, %v", err, m.vms)
	}
}

// TestForwarderDiesAndItsPortIsTaken: it comes back when the port is free again, and
// what is published can be changed meanwhile.
func TestForwarderDiesAndItsPortIsTaken(t *testing.T) {
	m := manager(t, fixture(t))
	ports := open(t, m, tcp(0), tcp(0))
	m.mu.Lock() // it is not started again before the port is taken
	kill(t, m)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].HostPort))
	m.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // by hand as by itself
		if _, err := m.Open(t.Context(), id, ports); api.KindOf(err) != api.KindConflict {
			t.Errorf("%v", err)
		}
	}
	l.Close()
	await(t, ports[0])
	await(t, ports[1])
	m.Close(t.Context(), id)
}

// TestOthersAfterAForwarderDied are published at once.
func TestOthersAfterAForwarderDied(t *testing.T) {
	m := manager(t, fixture(t))
	open(t, m, tcp(0))
	kill(t, m)
	if ports := open(t, m, tcp(0)); !listens(ports[0]) {
		t.Error("it is not")
	}
	m.Close(t.Context(), id)
}

// TestEndedIsNotDied: one that was ended is not replaced, and nobody is told that it died.
func TestEndedIsNotDied(t *testing.T) {
	m := manager(t, fixture(t))
	var log bytes.Buffer
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	open(t, m, tcp(0))
	s := m.vms[id]
	m.Close(t.Context(), id)
	if err := m.replace(id, s); err != nil || len(m.vms) != 0 || log.Len() != 0 {
		t.Errorf("%v, %v, %s", err, m.vms, log.String())
	}
}

// kill kills the forwarder.
func kill(t *testing.T, m *Manager) {
	t.Helper()
	process := m.vms[id].process
	if err := process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-process.Done()
}

// await waits until a port is listened on.
func await(t *testing.T, p api.PublishedPort) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !listens(p); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens on %s", p)
		}
	}
}

// TestWhenRemoved: a forwarder ends with its VM's directory, where no daemon ends it.
func TestWhenRemoved(t *testing.T) {
	p := fixture(t)
	file := filepath.Join(p.VM(id), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go whenRemoved(t.Context(), file, 10*time.Millisecond, func() { close(gone) })
	select {
	case <-gone:
		t.Fatal("it is there")
	case <-time.After(100 * time.Millisecond):
	}
	if err := os.RemoveAll(p.VM(id)); err != nil {
		t.Fatal(err)
	}
	<-gone
}

// TestTaken: nothing is changed where one of several ports cannot be had.
func TestTaken(t *testing.T) {
	m := manager(t, fixture(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := tcp(l.Addr().(*net.TCPAddr).Port)
	if err := m.Check(t.Context(), []api.PublishedPort{tcp(0), taken}); api.KindOf(err) != api.KindConflict {
		t.Errorf("Check: %v", err)
	}
	_, err = m.Open(t.Context(), id, []api.PublishedPort{tcp(0), taken})
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), fmt.Sprintf("is taken by publish.test (process %d)", os.Getpid())) {
		t.Errorf("Open: %v", err)
	}
	if len(m.vms) != 0 {
		t.Error("a forwarder is left")
	}
	ports := open(t, m, tcp(0))
	if _, err := m.Open(t.Context(), id, []api.PublishedPort{ports[0], tcp(0), taken}); api.KindOf(err) != api.KindConflict {
		t.Errorf("one more: %v", err)
	}
	if has, err := ask(t.Context(), m.paths.VM(id), order{}, nil); err != nil || len(has) != 1 || has[0] != ports[0] {
		t.Errorf("%v, %v", has, err)
	}
	m.Close(t.Context(), id)
}

func TestWhoseForwarder(t *testing.T) {
	for line, want := range map[string]string{
		"bangerd banger-forwarder vm=0123456789ab dir=/d/vms/0123456789ab mode=user":   id,
		"bangerd banger-forwarder vm=0123456789ab dir=/e/vms/0123456789ab mode=user":   "",
		"bangerd banger-forwarder vm=0123456789ab dir=/d/vms/0123456789ac mode=user":   "",
		"bangerd banger-forwarder vm=0123456789ab dir=/d/vms/0123456789ab mode=user x": "",
		"bangerd --system": "",
	} {
		if got := vmOf(strings.Fields(line), "/d/vms"); got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// TestCurrentProgram: after an update the daemon is another.
func TestCurrentProgram(t *testing.T) {
	prefix := t.TempDir()
	old := filepath.Join(prefix, "versions", "v1", "bangerd")
	for _, dir := range []string{"v1", "v2"} {
		if err := os.MkdirAll(filepath.Join(prefix, "versions", dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(prefix, "versions", dir, "bangerd"), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := currentProgram(old); got != old {
		t.Errorf("without a link: %s", got)
	}
	if err := os.Symlink("versions/v2", filepath.Join(prefix, "current")); err != nil {
		t.Fatal(err)
	}
	if got := currentProgram(old); got != filepath.Join(prefix, "current", "bangerd") {
		t.Errorf("with a link: %s", got)
	}
}

// TestAForwarderDiesOverAnOrder: it is replaced by one that follows the order.
func TestAForwarderDiesOverAnOrder(t *testing.T) {
	m := manager(t, fixture(t))
	one := open(t, m, tcp(0))[0]
	dying := m.get(id).process
	if err := dying.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = dying.Signal(syscall.SIGKILL) })
	for _, p := range open(t, m, one, tcp(0)) {
		if !listens(p) {
			t.Errorf("%s is not served", p)
		}
	}
	m.Close(t.Context(), id)
}

// TestAForwarderDiesSlowly, as on a host that is overloaded: its socket is closed seconds
// before it has ended. It is waited for, and replaced.
func TestAForwarderDiesSlowly(t *testing.T) {
	p := fixture(t)
	m := manager(t, p)
	socket, err := listen(filepath.Join(p.VM(id), paths.VMPortsSocket))
	if err != nil {
		t.Fatal(err)
	}
	socket.Close()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	dying, err := proc.Spawn(proc.Command{Path: sleep, Args: []string{"sleep", "2"}, Files: []*os.File{nil, nil, nil}})
	if err != nil {
		t.Fatal(err)
	}
	m.keep(id, dying, nil)
	if ports := open(t, m, tcp(0)); !dying.Ended() || !listens(ports[0]) {
		t.Errorf("it has ended: %v, and %s is not served", dying.Ended(), ports[0])
	}
	m.Close(t.Context(), id)
}

// TestAStuckForwarderHoldsUpNoOther: neither another VM's ports nor the next daemon.
func TestAStuckForwarderHoldsUpNoOther(t *testing.T) {
	p := fixture(t)
	first := manager(t, p)
	open(t, first, tcp(0))
	pid := first.vms[id].process.PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const other = "ffffffffffff"
	if err := os.MkdirAll(p.VM(other), 0o700); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = first.Open(t.Context(), id, []api.PublishedPort{tcp(0), tcp(0)}) // it never answers
	}()
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	if _, err := first.Open(t.Context(), other, []api.PublishedPort{tcp(0)}); err != nil {
		t.Error(err)
	}
	first.Close(t.Context(), other)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("another VM's ports took %s", took)
	}
	second := manager(t, p)
	began = time.Now()
	if _, err := second.Recover(t.Context(), func(string) []api.PublishedPort { return nil }); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the next daemon waited %s", took)
	}
	<-closed
	first.Close(t.Context(), id)
}
