package jailed

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/firecracker"
	"banger/internal/host/proc"
	"banger/internal/paths"
	"banger/internal/rootapi"
)

const vm = "0123456789ab"

// helper stands for bangerd-root. Its VMM is a process that waits for its
// standard input to end.
type helper struct {
	*testing.T
	dir string

	mu    sync.Mutex
	asked []rootapi.Call
	fails map[rootapi.Verb]error
	vmm   *exec.Cmd
	agent func(net.Conn) // serves the agent's socket
	check rootapi.CheckAnswer
	kept  map[string]bool        // digests of boot files
	amend func(*rootapi.Process) // what vm-start answers
}

func newHelper(t *testing.T) *helper {
	h := &helper{T: t, dir: t.TempDir(), fails: map[rootapi.Verb]error{}, kept: map[string]bool{}}
	t.Cleanup(h.kill)
	return h
}

func (h *helper) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *helper) Do(_ context.Context, call rootapi.Call, answer any, _ ...*os.File) ([]*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, call)
	if err := call.Validate(); err != nil {
		h.Errorf("%s: %v", call.Verb(), err)
	}
	if err := h.fails[call.Verb()]; err != nil {
		return nil, err
	}
	var body any
	var give []*os.File
	switch c := call.(type) {
	case rootapi.BootPutCall:
		h.kept[c.Digest] = true
	case rootapi.VMStartCall:
		if !h.kept[c.Kernel] || !h.kept[c.Initramfs] {
			return nil, api.Errorf(api.KindNotFound, "no such boot file is kept")
		}
		h.start()
		p, pidfd := h.process()
		p.VMM, p.Accel = c.VMM, c.Accel
		if h.amend != nil {
			h.amend(&p)
		}
		body, give = p, append(give, pidfd)
		if c.VMM == rootapi.Firecracker {
			give = append(give, h.readySocket())
		}
	case rootapi.VMFindCall:
		found := rootapi.VMFindAnswer{}
		if h.vmm != nil {
			p, pidfd := h.process()
			found.Process, give = &p, append(give, pidfd)
		}
		body = found
	case rootapi.VMKillCall:
		h.end()
	case rootapi.VMDialCall:
		give = append(give, h.dial())
	case rootapi.CheckCall:
		body = h.check
	}
	if answer != nil && body != nil {
		data, err := json.Marshal(body)
		h.must(err)
		h.must(json.Unmarshal(data, answer))
	}
	return give, nil
}

func (h *helper) start() {
	h.vmm = exec.Command("cat")
	_, err := h.vmm.StdinPipe()
	h.must(err)
	h.must(h.vmm.Start())
}

func (h *helper) end() {
	if h.vmm != nil {
		_ = h.vmm.Process.Kill()
		_ = h.vmm.Wait()
		h.vmm = nil
	}
}

func (h *helper) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end()
}

func (h *helper) process() (rootapi.Process, *os.File) {
	p, err := proc.Open(h.vmm.Process.Pid)
	h.must(err)
	defer p.Close()
	pidfd, err := p.File()
	h.must(err)
	id := p.Identity()
	return rootapi.Process{PID: id.PID, StartTime: id.StartTime, BootID: id.BootID, VMM: rootapi.Firecracker, Accel: "kvm"}, pidfd
}

func (h *helper) readySocket() *os.File {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.readyPath(), Net: "unix"})
	h.must(err)
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	h.must(err)
	return f
}

func (h *helper) readyPath() string { return filepath.Join(h.dir, firecracker.ReadySocket) }

// ring rings as the guest's agent does.
func (h *helper) ring() {
	h.Helper()
	conn, err := net.Dial("unix", h.readyPath())
	h.must(err)
	conn.Close()
}

func (h *helper) dial() *os.File {
	l, err := net.Listen("unix", filepath.Join(h.TempDir(), "s"))
	h.must(err)
	defer l.Close()
	ours, err := net.Dial("unix", l.Addr().String())
	h.must(err)
	defer ours.Close()
	theirs, err := l.Accept()
	h.must(err)
	if h.agent != nil {
		go h.agent(theirs)
	} else {
		theirs.Close()
	}
	f, err := ours.(*net.UnixConn).File()
	h.must(err)
	return f
}

func (h *helper) verbs() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, c := range h.asked {
		all = append(all, string(c.Verb()))
	}
	return strings.Join(all, " ")
}

func (h *helper) spec() driver.Spec {
	for _, name := range []string{"kernel", "initramfs"} {
		h.must(os.WriteFile(filepath.Join(h.dir, name), []byte(name), 0o600))
	}
	return driver.Spec{
		ID: vm, Slot: 1, Dir: h.dir, VCPUs: 1, MemoryBytes: 128 << 20,
		Kernel: filepath.Join(h.dir, "kernel"), Initramfs: filepath.Join(h.dir, "initramfs"), Cmdline: "quiet",
	}
}

func (h *helper) firecracker() *Firecracker {
	return NewFirecracker(h, NewBootFiles(filepath.Join(h.dir, "boot.json")))
}

// handshake answers Firecracker's handshake, docs/vsock.md.
func handshake(c net.Conn) {
	defer c.Close()
	line := make([]byte, 64)
	n, _ := c.Read(line)
	if strings.HasPrefix(string(line[:n]), "CONNECT 1024") {
		_, _ = c.Write([]byte("OK 7\nhi"))
	}
	_, _ = c.Read(line)
}

func TestLife(t *testing.T) {
	h := newHelper(t)
	h.agent = handshake
	d := h.firecracker()
	m, err := d.Start(t.Context(), h.spec())
	h.must(err)
	defer m.Release()
	// The files are brought when the helper says that it has not got them.
	if got := h.verbs(); got != "vm-start boot-put boot-put vm-start" {
		t.Error(got)
	}
	for _, name := range []string{paths.VMConsole, paths.VMLog} {
		if info, err := os.Stat(filepath.Join(h.dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	if _, ok := m.(driver.Pauser); !ok {
		t.Error("it cannot be paused")
	}
	// Two wait for the ready socket, and a third gives up: that takes it from nobody.
	got := make(chan error, 2)
	for range 2 {
		go func() {
			conn, err := m.DialGuest(t.Context())
			if err == nil {
				conn.Close()
			}
			got <- err
		}()
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.DialGuest(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	select {
	case err := <-got:
		t.Errorf("it did not wait for the ready socket: %v", err)
	default:
	}
	h.ring()
	for range 2 {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
	conn, err := m.DialGuest(t.Context())
	h.must(err)
	hi := make([]byte, 2)
	if _, err := conn.Read(hi); err != nil || string(hi) != "hi" {
		t.Errorf("%q, %v", hi, err)
	}
	conn.Close()
	again, err := d.Recover(t.Context(), vm, h.dir, m.Handle())
	h.must(err)
	if again.PID() != m.PID() || again.Accel() != "kvm" {
		t.Errorf("recovered %d", again.PID())
	}
	again.Release()
	h.must(m.Kill(t.Context()))
	<-m.Done()
	if _, err := d.Recover(t.Context(), vm, h.dir, m.Handle()); !errors.Is(err, driver.ErrGone) {
		t.Error(err)
	}
}

func TestVMMThatEndsBeforeItRings(t *testing.T) {
	h := newHelper(t)
	m, err := h.firecracker().Start(t.Context(), h.spec())
	h.must(err)
	defer m.Release()
	got := make(chan error, 1)
	go func() {
		_, err := m.DialGuest(t.Context())
		got <- err
	}()
	h.kill()
	if err := <-got; api.KindOf(err) != api.KindConflict {
		t.Error(err)
	}
}

func TestReleaseLeavesNothing(t *testing.T) {
	h := newHelper(t)
	m, err := h.firecracker().Start(t.Context(), h.spec())
	h.must(err)
	m.Release() // goleak says whether somebody still waits for the ready socket
	m.Release()
}

func TestFailedStart(t *testing.T) {
	h := newHelper(t)
	s := h.spec()
	h.fails[rootapi.VMStart] = api.Errorf(api.KindConflict, "no disk").WithHint("attach it")
	_, err := h.firecracker().Start(t.Context(), s)
	if e := api.AsError(err); e == nil || e.Kind != api.KindConflict || e.Hint != "attach it" {
		t.Errorf("%+v", e)
	}
	if got := h.verbs(); got != "vm-start vm-kill" {
		t.Error(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.firecracker().Start(ctx, s); api.KindOf(err) != api.KindCanceled {
		t.Error(err)
	}
}

// TestStartThatCannotHoldTheVMM ends what it started itself, and nothing that ran
// before.
func TestStartThatCannotHoldTheVMM(t *testing.T) {
	for _, found := range []bool{false, true} {
		h := newHelper(t)
		h.amend = func(p *rootapi.Process) { p.Found, p.PID = found, os.Getpid() }
		if _, err := h.firecracker().Start(t.Context(), h.spec()); !errors.Is(err, proc.ErrGone) {
			t.Errorf("found %t: %v", found, err)
		}
		if killed := strings.Contains(h.verbs(), "vm-kill"); killed == found {
			t.Errorf("found %t, killed %t", found, killed)
		}
	}
}

func TestRecoverOfAnotherDriversVM(t *testing.T) {
	h := newHelper(t)
	h.start()
	d := NewQEMU(h, NewBootFiles(""), nil, nil)
	for _, hint := range []string{"", "null", "{}", `{"version":2}`, `"x"`} {
		if _, err := d.Recover(t.Context(), vm, h.dir, json.RawMessage(hint)); !errors.Is(err, driver.ErrGone) {
			t.Errorf("%s: %v", hint, err)
		}
	}
}

// TestSignalIsAVerb: the helper sends it, as only root may.
func TestSignalIsAVerb(t *testing.T) {
	h := newHelper(t)
	m := &Machine{id: vm, helper: h}
	if err := m.Signal(t.Context(), api.SignalTerm); err != nil {
		t.Error(err)
	}
	want := rootapi.VMKillCall{VM: rootapi.VM{ID: vm}, Signal: api.SignalTerm}
	if len(h.asked) != 1 || h.asked[0] != rootapi.Call(want) {
		t.Errorf("it asked %+v", h.asked)
	}
}

func TestProbe(t *testing.T) {
	h := newHelper(t)
	d := h.firecracker()
	h.check.Firecracker = rootapi.VMMCheck{Reason: "cannot use firecracker: it is not installed", Hint: "install it"}
	if _, err := d.Probe(t.Context(), "", ""); api.KindOf(err) != api.KindUnsupported || api.AsError(err).Hint != "install it" {
		t.Error(err)
	}
	h.check.Firecracker = rootapi.VMMCheck{Version: "1.16.1"}
	h.check.KVM = "no /dev/kvm"
	if _, err := d.Probe(t.Context(), "", ""); api.KindOf(err) != api.KindUnsupported {
		t.Error(err)
	}
	h.check.KVM = ""
	if c, err := d.Probe(t.Context(), "", ""); err != nil || c.Version != "1.16.1" || c.Accel != "kvm" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestDigestsAreRemembered: until the file is another, whatever its time says.
func TestDigestsAreRemembered(t *testing.T) {
	dir := t.TempDir()
	path, cache := filepath.Join(dir, "kernel"), filepath.Join(dir, "boot.json")
	digest := func() string {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d, err := NewBootFiles(cache).digest(f)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	long := time.Now().Add(-time.Hour)
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, long, long)); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	one := digest()
	if digest() != one {
		t.Error("the same file has another digest")
	}
	write("two") // of the same size and time
	if digest() == one {
		t.Error("another content has the same digest")
	}
	if err := os.WriteFile(cache, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	digest() // a broken cache is none
}

// TestAFailedStartNamesItsCause: what the VMM said, in plain words, and the way out. What
// systemd says counts if the VMM's own words say nothing.
func TestAFailedStartNamesItsCause(t *testing.T) {
	ended := api.Errorf(api.KindInternal, "cannot start VM x: firecracker ended at once: oom-kill, killed").WithHint("journalctl")
	for name, c := range map[string]struct {
		err        error
		said       string
		want, hint string
	}{
		"the jailer's words": {ended, "Failed to create /dev/userfaultfd via mknod inside the jail: Operation not permitted (os error 1)\x1b[2J",
			ended.Message + ": the VM's unit does not let the jailer make the device node /dev/userfaultfd; the VMM's output: Failed to create " +
				"/dev/userfaultfd via mknod inside the jail: Operation not permitted (os error 1)^[[2J", "banger update"},
		"systemd's words": {ended, "", ended.Message + ": the kernel killed it because memory ran out (out-of-memory killer)", "less memory"},
		"neither":         {api.Errorf(api.KindInternal, "ended at once: exit-code, status 1").WithHint("look"), "what?", "ended at once: exit-code, status 1; the VMM's output: what?", "look"},
		"another failure": {api.Errorf(api.KindConflict, "Permission denied").WithHint("look"), "", "Permission denied", "look"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, paths.VMLog), []byte(c.said), 0o600); err != nil {
			t.Fatal(err)
		}
		got := api.AsError(explained(c.err, dir))
		if got.Message != c.want || !strings.Contains(got.Hint, c.hint) || got.Kind != api.KindOf(c.err) {
			t.Errorf("%s: %s %q, try %q\nwant %q", name, got.Kind, got.Message, got.Hint, c.want)
		}
	}
}
