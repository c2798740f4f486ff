package roothelper

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/rootapi"
)

// serve serves the fixture's helper on a socket.
func (w *fixture) serve() (socket string) {
	w.TB.Helper()
	socket = filepath.Join(w.dir(), "helper.sock")
	l, err := Listen(socket, owner, owner)
	w.check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
	return socket
}

func TestSocketIsTheOwners(t *testing.T) {
	w := newFixture(t)
	socket := w.serve()
	info, err := os.Lstat(socket)
	w.check(err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != owner || st.Gid != owner || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%s, %d:%d", info.Mode(), st.Uid, st.Gid)
	}
}

// TestListenAgain: the socket of the helper before is replaced, nothing else is.
func TestListenAgain(t *testing.T) {
	w := newFixture(t)
	path := filepath.Join(w.dir(), "helper.sock")
	for range 2 {
		l, err := Listen(path, owner, owner)
		if err != nil || l == nil {
			t.Fatalf("%v, %v", l, err)
		}
		w.check(l.Close())
	}
	if _, err := Listen(filepath.Dir(path), owner, owner); err == nil {
		t.Error("a directory with files was replaced")
	}
}

// TestWhatIsLogged: what was refused is a warning, what was done is none.
func TestWhatIsLogged(t *testing.T) {
	w := newFixture(t)
	var log bytes.Buffer
	w.server.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	socket := filepath.Join(w.dir(), "helper.sock")
	l, err := Listen(socket, owner, owner)
	w.check(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l) }()
	c := rootapi.Client{Socket: socket, Version: "1"}
	_, err = c.Do(t.Context(), rootapi.HelloCall{}, nil)
	w.check(err)
	if _, err := c.Do(t.Context(), rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAPI}, nil); api.KindOf(err) != api.KindConflict {
		t.Error(err)
	}
	cancel()
	w.check(<-done) // all that is written is written
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "level=DEBUG msg=done verb=hello") ||
		!strings.Contains(lines[1], `level=WARN msg="refused or failed" verb=vm-dial`) {
		t.Errorf("%q", lines)
	}
}

// TestWhoMayAsk asks as other users, from processes of theirs.
func TestWhoMayAsk(t *testing.T) {
	w := newFixture(t)
	socket := w.serve()
	as := func(uid, gid int) api.Kind {
		t.Helper()
		cmd := exec.Command(selfProgram)
		cmd.Env = []string{"ASK=" + socket}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		out, err := cmd.Output()
		w.check(err)
		return api.Kind(out)
	}
	users := map[string]struct {
		uid, gid int
		kind     api.Kind
	}{
		"the owner":          {owner, owner, ""},
		"root":               {0, 0, ""},
		"another user":       {owner + 1, owner + 1, api.KindDenied},
		"of the owner's gid": {owner + 1, owner, api.KindDenied},
		"of root's group":    {owner + 1, 0, api.KindDenied},
		"a VM":               {uidBase + 1, uidBase + 1, api.KindDenied},
	}
	for name, c := range users {
		if kind := as(c.uid, c.gid); kind != c.kind {
			t.Errorf("%s: %q", name, kind)
		}
	}
	// Were the socket open to all, the kernel would still say who is asking.
	w.check(os.Chmod(socket, 0o666))
	for name, c := range users {
		if kind := as(c.uid, c.gid); kind != c.kind {
			t.Errorf("%s, through an open socket: %q", name, kind)
		}
	}
}

func TestServedRequests(t *testing.T) {
	w := newFixture(t)
	c := rootapi.Client{Socket: w.serve(), Version: "2"}
	var answer rootapi.HelloAnswer
	if _, err := c.Do(t.Context(), rootapi.HelloCall{}, &answer); err != nil || answer.OwnerUID != owner || answer.PID != os.Getpid() || answer.Outer != w.Settings.Outer {
		t.Errorf("%+v, %v", answer, err)
	}
	w.blocks.attached[vm] = true
	before := descriptors(t)
	var p rootapi.Process
	files, err := c.Do(t.Context(), w.startCall(vm, 1), &p, w.logs...)
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	rootapi.CloseAll(files)
	// A VMM binds its socket, which is what is waited for, a moment before it listens.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		files, err := c.Do(t.Context(), rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAPI}, nil)
		rootapi.CloseAll(files)
		if err == nil || time.Now().After(deadline) {
			break
		}
	}
	for range 20 {
		files, err := c.Do(t.Context(), rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAPI}, nil)
		if err != nil || len(files) != 1 {
			t.Errorf("%d files, %v", len(files), err)
		}
		rootapi.CloseAll(files)
		if _, err := c.Do(t.Context(), rootapi.DiskAttachCall{VM: of(vm), Mode: rootapi.Snapshot}, nil, w.logs...); err != nil {
			t.Error(err)
		}
		files, err = c.Do(t.Context(), w.startCall(vm, 1), nil, w.logs[0], w.logs[0])
		if err != nil || len(files) != 1 {
			t.Errorf("%d files, %v", len(files), err)
		}
		rootapi.CloseAll(files)
	}
	if _, err := c.Do(t.Context(), rootapi.VMKillCall{VM: of(vm)}, nil); err != nil {
		t.Error(err)
	}
	// What the test's own processes have stays: a pipe to the VMM.
	if after := descriptors(t); after > before+6 {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestUnknownVerbsAndProtocols(t *testing.T) {
	w := newFixture(t)
	for name, r := range map[string]rootapi.Request{
		"no verb":      {Protocol: "1"},
		"unknown verb": {Protocol: "1", Verb: "run"},
		"upper case":   {Protocol: "1", Verb: "HELLO"},
		"long verb":    {Protocol: "1", Verb: rootapi.Verb(strings.Repeat("x", 1000))},
	} {
		if _, _, err := w.server.do(r, nil); api.KindOf(err) != api.KindInvalid || len(err.Error()) > 200 {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := w.server.do(rootapi.Request{Protocol: "0", Version: "0.9", Verb: rootapi.Hello}, nil)
	if api.KindOf(err) != api.KindUnsupported || !strings.Contains(err.Error(), "bangerd 0.9") || !strings.Contains(err.Error(), "bangerd-root 1 ") {
		t.Error(err)
	}
}

// TestEveryVerbIsHandled: the list of calls and what the helper does are one.
func TestEveryVerbIsHandled(t *testing.T) {
	for _, call := range rootapi.Calls() {
		if handlers[call.Verb()] == nil {
			t.Errorf("%s is not handled", call.Verb())
		}
	}
	if len(handlers) != len(rootapi.Calls()) {
		t.Errorf("%d verbs are handled, and %d are there", len(handlers), len(rootapi.Calls()))
	}
}

func TestAFaultIsAnError(t *testing.T) {
	w := newFixture(t)
	w.blocks.detached = func(string) { panic("a fault") }
	w.refuses(api.KindInternal, rootapi.VMReleaseCall{VM: of(vm)})
	w.blocks.detached = nil
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil) // its lock was let go of
}

// TestAnswerThatIsTooLong is an error, not silence: a client that hears nothing
// asks again.
func TestAnswerThatIsTooLong(t *testing.T) {
	w := newFixture(t)
	for i := range 30000 {
		id := []byte(vm)
		for j := range 6 {
			id[j] = "0123456789abcdef"[i>>(4*j)&15]
		}
		w.blocks.attached[string(id)] = true
	}
	c := rootapi.Client{Socket: w.serve(), Version: "1", Patience: time.Second}
	if _, err := c.Do(t.Context(), rootapi.ListCall{}, nil); api.KindOf(err) != api.KindInternal || !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}
}

// TestOneRequestAtATimeForAVM: and any number for different ones.
func TestOneRequestAtATimeForAVM(t *testing.T) {
	w := newFixture(t)
	var mu sync.Mutex
	inside := map[string]int{}
	entered, leave := make(chan string, 3), make(chan struct{})
	w.blocks.attached = nil // nothing writes there at the same time
	w.blocks.detached = func(id string) {
		mu.Lock()
		inside[id]++
		if inside[id] > 1 {
			t.Errorf("two requests for %s at the same time", id)
		}
		mu.Unlock()
		entered <- id
		<-leave
		mu.Lock()
		inside[id]--
		mu.Unlock()
	}
	var all sync.WaitGroup
	for _, id := range []string{vm, vm, another} {
		body, err := json.Marshal(rootapi.VMReleaseCall{VM: of(id)})
		w.check(err)
		all.Go(func() {
			if _, _, err := w.server.do(rootapi.Request{Protocol: "1", Verb: rootapi.VMRelease, Body: body}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	if first, second := <-entered, <-entered; first == second {
		t.Errorf("both are for %s", first)
	}
	select {
	case id := <-entered:
		t.Errorf("a second one for %s", id)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	all.Wait()
	if len(w.locks.held) != 0 {
		t.Errorf("locks that nobody holds are kept: %v", w.locks.held)
	}
}

// TestSilentClient: one that sends nothing, or goes away, is in nobody's way.
func TestSilentClient(t *testing.T) {
	w := newFixture(t)
	socket := w.serve()
	for range 5 {
		conn, err := net.Dial("unixpacket", socket)
		w.check(err)
		defer conn.Close()
	}
	gone, err := net.Dial("unixpacket", socket)
	w.check(err)
	gone.Close()
	c := rootapi.Client{Socket: socket, Version: "1"}
	if _, err := c.Do(t.Context(), rootapi.HelloCall{}, nil); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	w := newFixture(t)
	p, _ := w.start(vm, 1)
	w.check(os.MkdirAll(filepath.Join(w.Dirs.Jails, "firecracker", "not-an-id"), 0o700))
	var held rootapi.ListAnswer
	w.must(rootapi.ListCall{}, &held)
	got := map[string]string{}
	for _, o := range held.Objects {
		got[o.Kind] += o.Name + " of " + o.ID
	}
	want := map[string]string{
		rootapi.KindUnit: "banger-vm-" + vm + ".service of " + vm, rootapi.KindDM: "banger-" + vm + " of " + vm,
		rootapi.KindJail: vm + " of " + vm, rootapi.KindProcess: itoa(p.PID) + " (firecracker) of " + vm,
	}
	for kind, text := range want {
		if got[kind] != text {
			t.Errorf("%s: %q, want %q", kind, got[kind], text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
}

// TestListOfAProcessOutsideOfItsUnit: its user id tells whose it is, if a jail records that.
func TestListOfAProcessOutsideOfItsUnit(t *testing.T) {
	w := newFixture(t)
	_, err := w.makeJail(t.Context(), vm, "firecracker", uidBase+1)
	w.check(err)
	want := map[string]string{}
	for uid, id := range map[int]string{uidBase + 1: vm, uidBase + 2: ""} {
		cmd := w.process(exec.Command(w.link(filepath.Join(w.dir(), "firecracker"))), uid, "/user.slice")
		want[itoa(cmd.Process.Pid)+" (firecracker)"] = id
	}
	held, err := w.list(t.Context())
	w.check(err)
	for _, o := range held.Objects {
		if o.Kind != rootapi.KindProcess {
			continue
		}
		if id, ok := want[o.Name]; !ok || o.ID != id {
			t.Errorf("%s of %q, want %q", o.Name, o.ID, id)
		}
		delete(want, o.Name)
	}
	if len(want) != 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestNetworkFollowsFromTheSlot(t *testing.T) {
	w := newFixture(t)
	w.must(rootapi.NetAttachCall{VM: of(vm), Slot: 5}, nil)
	if w.nets.plan.ID != vm || w.nets.plan.Slot != 5 || w.nets.plan.UID != uidBase+5 {
		t.Errorf("%+v", w.nets.plan)
	}
	w.must(rootapi.NetAttachCall{VM: of(vm), Slot: 5, None: true}, nil)
	if w.nets.attached != 1 || w.nets.none != 1 {
		t.Errorf("%+v", w.nets)
	}
}

func TestProgramsThatOthersCanChange(t *testing.T) {
	w := newFixture(t)
	chown := func(uid int) func(string) error { return func(p string) error { return os.Chown(p, uid, 0) } }
	chmod := func(mode os.FileMode) func(string) error { return func(p string) error { return os.Chmod(p, mode) } }
	parent := func(change func(string) error) func(string) error {
		return func(p string) error { return change(filepath.Dir(p)) }
	}
	for name, change := range map[string]func(string) error{
		"another's": chown(owner), "group may write": chmod(0o775), "all may write": chmod(0o757),
		"in another's directory": parent(chown(owner)), "in a directory of a group": parent(chmod(0o775)),
		"in everybody's directory": parent(chmod(0o777)),
	} {
		path := w.program("firecracker", "Firecracker v1.16.1")
		if _, err := locate(path, "firecracker"); err != nil {
			t.Fatal(err)
		}
		w.check(change(path))
		link := filepath.Join(w.dir(), "firecracker")
		w.check(os.Symlink(path, link))
		for _, p := range []string{path, link} {
			if _, err := locate(p, "firecracker"); api.KindOf(err) != api.KindUnsupported {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, path := range []string{w.dir(), "/dev/null", filepath.Join(w.dir(), "none")} {
		if _, err := locate(path, "firecracker"); api.KindOf(err) != api.KindUnsupported {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestWhichProgram: what the configuration names, then what `banger system firecracker`
// switched to, then what somebody installed by hand.
func TestWhichProgram(t *testing.T) {
	if searchPath[0] != "/usr/local/lib/banger/firecracker/current" || searchPath[1] != "/usr/local/sbin" || searchPath[2] != "/usr/local/bin" {
		t.Error(searchPath)
	}
	w := newFixture(t)
	configured, byHand := w.program("firecracker", ""), w.program("firecracker", "")
	version := filepath.Dir(w.program("firecracker", ""))
	current := filepath.Join(w.dir(), "current")
	dirs := []string{current, filepath.Dir(byHand)}
	for _, c := range []struct{ configured, want string }{{"", byHand}, {"", filepath.Join(version, "firecracker")}, {configured, configured}} {
		if got, err := locateIn(dirs, c.configured, "firecracker"); err != nil || got != c.want {
			t.Errorf("%s, %v, want %s", got, err, c.want)
		}
		_ = os.Symlink(version, current) // from the second on
	}
	_, err := locateIn([]string{w.dir()}, "", "jailer")
	if e := api.AsError(err); api.KindOf(err) != api.KindUnsupported || e.Message != "jailer is not installed" || !strings.HasPrefix(e.Hint, "sudo banger system firecracker ") {
		t.Errorf("%v, %q", err, e.Hint)
	}
}

// TestVersionIsAskedOnce: no start of a VM runs a program for it; a program that
// was replaced is asked again.
func TestVersionIsAskedOnce(t *testing.T) {
	w := newFixture(t)
	asked := filepath.Join(w.dir(), "asked")
	script := func(version string) string {
		return "#!/bin/sh\necho >>" + asked + "\necho 'Firecracker " + version + "'\n"
	}
	w.check(os.WriteFile(w.Settings.Firecracker, []byte(script("v1.16.1")), 0o755))
	for range 3 {
		if p, err := w.programs.firecracker(w.Settings); err != nil || p.version != "1.16.1" {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	if w.read(asked) != "\n" {
		t.Errorf("asked %d times", len(w.read(asked)))
	}
	replaced := w.program("firecracker", "Firecracker v1.17.0")
	w.check(os.Rename(replaced, w.Settings.Firecracker))
	if p, err := w.programs.firecracker(w.Settings); err != nil || p.version != "1.17.0" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestOutputOfProgramsIsBounded: the helper keeps it, so it does not keep all of it.
func TestOutputOfProgramsIsBounded(t *testing.T) {
	var kept bytes.Buffer
	out := &limited{to: &kept}
	text := strings.Repeat("x", 1000)
	for range 5 {
		if n, err := out.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if kept.String() != strings.Repeat("x", 4096) {
		t.Errorf("%d bytes", kept.Len())
	}
}

func TestCheck(t *testing.T) {
	w := newFixture(t)
	var a rootapi.CheckAnswer
	w.must(rootapi.CheckCall{Network: true}, &a)
	if a.Firecracker.Version != "1.16.1" || a.QEMU.Version == "" || a.DeviceMapper != "" ||
		a.Firecracker.Path != w.Settings.Firecracker || a.Firecracker.Jailer != w.Settings.Jailer {
		t.Errorf("%+v", a)
	}
	want := ""
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err != nil {
		want = err.Error()
	} else {
		f.Close()
	}
	if a.KVM != want {
		t.Errorf("KVM: %q, want %q", a.KVM, want)
	}
	w.Settings.QEMU = "/nonexistent"
	a = rootapi.CheckAnswer{}
	w.must(rootapi.CheckCall{}, &a)
	if a.QEMU.Version != "" || a.QEMU.Reason == "" || a.QEMU.Hint == "" {
		t.Errorf("%+v", a.QEMU)
	}
}
