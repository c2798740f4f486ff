package roothelper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/daemon/fcproc"
	"banger/internal/host/blockdev"
	"banger/internal/host/network"
	"banger/internal/host/network/netns"
	"banger/internal/host/resolved"
	"banger/internal/host/systemd"
	"banger/internal/rootapi"
	"banger/internal/vmid"
)

const (
	vm      = "0123456789ab"
	another = "ba9876543210"
	owner   = 64001 // user id; any but root's
	uidBase = 1900000000
)

// Set by TestMain: programs that any user can run.
var programDir, vmmProgram, selfProgram string

func TestMain(m *testing.M) {
	if dir := os.Getenv(hostEnv); dir != "" {
		mainOnAHost(dir)
	}
	if len(os.Args) > 1 && os.Args[1] == LaunchArg {
		fmt.Fprintln(os.Stderr, Launch(os.Args[2:]))
		os.Exit(1)
	}
	if socket := os.Getenv("ASK"); socket != "" {
		ask(socket)
	}
	dir, err := os.MkdirTemp("", "roothelper")
	if err != nil {
		panic(err)
	}
	programDir, vmmProgram, selfProgram = dir, filepath.Join(dir, "vmm"), filepath.Join(dir, "self")
	build := exec.Command("go", "build", "-o", vmmProgram, "./testdata/vmm")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(selfProgram, self, 0o755), os.Chmod(selfProgram, 0o755)); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// ask is a client in a process of its own: it says how the helper's answer was.
func ask(socket string) {
	c := rootapi.Client{Socket: socket, Version: "1"}
	_, err := c.Do(context.Background(), rootapi.HelloCall{}, nil)
	fmt.Print(api.KindOf(err))
	os.Exit(0)
}

// fixture is a host whose kernel and systemd are fakes, and whose processes are
// real ones, seen through a copy of /proc that says what their cgroup would be.
type fixture struct {
	testing.TB
	*Helper
	server *Server
	blocks *fakeBlocks
	nets   *fakeNets
	wall   *fakeFirewall
	names  fakeNames
	units  *fakeUnits
	logs   []*os.File
	sum    string // of a boot file that is kept
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the helper is root: it makes device nodes and gives files to other users")
	}
	w := &fixture{TB: t, blocks: &fakeBlocks{attached: map[string]bool{}}, nets: &fakeNets{}, wall: &fakeFirewall{}}
	w.units = &fakeUnits{fixture: w, running: map[string]*exec.Cmd{}, serve: []string{"/api.sock", "/v.sock"}}
	dir := w.dir()
	for _, d := range []string{"jails", "boot", "run"} {
		w.check(os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	w.Helper = &Helper{
		Settings: Settings{
			UIDBase: uidBase, UIDCount: 100, Outer: netip.MustParsePrefix("10.213.0.0/16"), Self: selfProgram,
			Firecracker: w.program("firecracker", "Firecracker v1.16.1"), Jailer: w.program("jailer", "Jailer v1.16.1"),
			QEMU: w.link(filepath.Join(w.dir(), "qemu-system-x86_64")),
		},
		Owner: owner, Blocks: w.blocks, Networks: w.nets, Firewall: w.wall, Names: &w.names, Units: w.units,
		Host:  fcproc.Host{Proc: w.dir(), Cgroup: w.dir()},
		Dirs:  Dirs{Jails: filepath.Join(dir, "jails"), Boot: filepath.Join(dir, "boot"), Run: filepath.Join(dir, "run")},
		ready: 5 * time.Second, starting: 300 * time.Millisecond,
	}
	w.server = &Server{Version: "1", Owner: owner, Helper: w.Helper, Log: slog.New(slog.DiscardHandler)}
	for _, name := range []string{"console", "vmm.log"} {
		w.logs = append(w.logs, w.log(name, os.O_WRONLY|os.O_APPEND, owner))
	}
	w.sum = w.keep("a kernel")
	return w
}

func (w *fixture) check(err error) {
	w.TB.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// dir makes a directory that every user can pass through.
func (w *fixture) dir() string {
	w.TB.Helper()
	dir, err := os.MkdirTemp("", "roothelper")
	w.check(err)
	w.check(os.Chmod(dir, 0o755))
	w.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// program makes a program that says its version.
func (w *fixture) program(name, says string) string {
	w.TB.Helper()
	path := filepath.Join(w.dir(), name)
	w.check(os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o755))
	return path
}

// link gives the VMM another name: a program that was just written cannot be run.
func (w *fixture) link(path string) string {
	w.TB.Helper()
	if err := os.Link(vmmProgram, path); err != nil && !os.IsExist(err) {
		w.Fatal(err)
	}
	return path
}

func (w *fixture) log(name string, flags, uid int) *os.File {
	w.TB.Helper()
	path := filepath.Join(w.dir(), name)
	w.check(os.WriteFile(path, nil, 0o600))
	w.check(os.Chown(path, uid, uid))
	f, err := os.OpenFile(path, flags, 0)
	w.check(err)
	w.Cleanup(func() { f.Close() })
	return f
}

// ask is what the server does with a request.
func (w *fixture) ask(call rootapi.Call, answer any, files ...*os.File) ([]*os.File, error) {
	w.TB.Helper()
	body, err := json.Marshal(call)
	w.check(err)
	got, give, err := w.server.do(rootapi.Request{Protocol: "1", Version: "1", Verb: call.Verb(), Body: body}, files)
	w.Cleanup(func() { rootapi.CloseAll(give) })
	if err == nil && answer != nil {
		data, err := json.Marshal(got)
		w.check(err)
		w.check(json.Unmarshal(data, answer))
	}
	return give, err
}

// must asks and expects no error.
func (w *fixture) must(call rootapi.Call, answer any, files ...*os.File) []*os.File {
	w.TB.Helper()
	give, err := w.ask(call, answer, files...)
	if err != nil {
		w.Fatalf("%s: %v", call.Verb(), err)
	}
	return give
}

// refuses asks and expects an error of a kind.
func (w *fixture) refuses(kind api.Kind, call rootapi.Call, files ...*os.File) error {
	w.TB.Helper()
	give, err := w.ask(call, nil, files...)
	if api.KindOf(err) != kind || len(give) != 0 {
		w.Errorf("%s: %d files, %v; want an error of kind %s", call.Verb(), len(give), err, kind)
	}
	return err
}

func (w *fixture) startCall(id string, slot int) rootapi.VMStartCall {
	return rootapi.VMStartCall{
		VM: rootapi.VM{ID: id}, Slot: slot, VMM: rootapi.Firecracker, Accel: "kvm", VCPUs: 1, MemoryMiB: 128,
		Kernel: w.sum, Initramfs: w.sum, Cmdline: "quiet",
	}
}

// start starts a VM as the daemon does.
func (w *fixture) start(id string, slot int) (rootapi.Process, []*os.File) {
	w.TB.Helper()
	w.blocks.attached[id] = true
	var p rootapi.Process
	give := w.must(w.startCall(id, slot), &p, w.logs...)
	return p, give
}

func (w *fixture) kill(id string) {
	w.TB.Helper()
	w.must(rootapi.VMKillCall{VM: rootapi.VM{ID: id}}, nil)
}

// root is the root directory of a VM's jail.
func (w *fixture) root(id string) string { return w.jailFor(id, "firecracker").root }

// runs tells whether a process has not ended.
func runs(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// enter makes a process's directory in the fixture's /proc.
func (w *fixture) enter(pid int, cgroup string) {
	w.TB.Helper()
	dir := filepath.Join(w.Host.Proc, strconv.Itoa(pid))
	w.check(os.Mkdir(dir, 0o755))
	for _, name := range []string{"cmdline", "comm", "stat", "status", "root"} {
		w.check(os.Symlink(filepath.Join("/proc", strconv.Itoa(pid), name), filepath.Join(dir, name)))
	}
	w.check(os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::"+cgroup+"\n"), 0o600))
	members := filepath.Join(w.Host.Cgroup, cgroup)
	w.check(os.MkdirAll(members, 0o755))
	f, err := os.OpenFile(filepath.Join(members, "cgroup.procs"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	w.check(err)
	defer f.Close()
	_, err = fmt.Fprintln(f, pid)
	w.check(err)
}

// process starts a program until the test ends.
func (w *fixture) process(cmd *exec.Cmd, uid int, cgroup string) *exec.Cmd {
	w.TB.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	cmd.Dir = "/"
	stdin, err := cmd.StdinPipe()
	w.check(err)
	w.check(cmd.Start())
	w.Cleanup(func() {
		w.units.mu.Lock() // its Stop may have waited for it
		defer w.units.mu.Unlock()
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	w.enter(cmd.Process.Pid, cgroup)
	return cmd
}

// fakeUnits is a systemd that starts programs without it. As the jailer would, it
// starts Firecracker in the jail.
type fakeUnits struct {
	*fixture
	serve []string // sockets that the VMM makes
	args  []string // more of its arguments
	fails error

	starting   func()                     // called by StartHeld
	mainPID    func(pid int) (int, error) // replaces the answer of MainPID
	late       int                        // how often State does not know of an end yet
	stateFails error

	mu      sync.Mutex
	running map[string]*exec.Cmd
	last    systemd.Unit
	stops   int
}

func (u *fakeUnits) StartHeld(ctx context.Context, unit systemd.Unit) (func(), error) {
	return func() {}, u.start(unit)
}

// State says of a unit how its program ended: with status 3, if it did.
func (u *fakeUnits) State(ctx context.Context, name string) (systemd.State, error) {
	pid, err := u.MainPID(ctx, name)
	if u.late > 0 {
		u.late--
		return systemd.State{Active: "active", MainPID: pid}, errors.Join(err, u.stateFails)
	}
	if pid != 0 {
		return systemd.State{Active: "active", MainPID: pid}, err
	}
	return systemd.State{Active: "failed", Result: "exit-code"}, err
}

func (u *fakeUnits) start(unit systemd.Unit) error {
	if u.starting != nil {
		u.starting()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = unit
	if u.fails != nil {
		return u.fails
	}
	if u.running[unit.Name] != nil {
		return api.Errorf(api.KindExists, "%s is there already", unit.Name)
	}
	id, _ := vmid.FromUnit(unit.Name)
	var cmd *exec.Cmd
	uid := 0
	if i := slices.Index(unit.Exec, "--uid"); i > 0 {
		uid, _ = strconv.Atoi(unit.Exec[i+1])
		root := u.root(id)
		u.link(filepath.Join(root, "firecracker"))
		u.check(os.Chown(root, uid, uid))
		args := u.args
		for _, s := range u.serve {
			args = append(args, "serve="+s)
		}
		cmd = exec.Command("/firecracker", args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	} else {
		// The launcher changes its user by itself.
		cmd = exec.Command(unit.Exec[0], unit.Exec[1:]...)
	}
	cmd.Stdout, cmd.Stderr = unit.Stdout, unit.Stderr
	u.running[unit.Name] = u.process(cmd, uid, fcproc.Cgroup(id))
	return nil
}

func (u *fakeUnits) MainPID(_ context.Context, name string) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	pid := 0
	if cmd := u.running[name]; cmd != nil && runs(cmd.Process.Pid) {
		pid = cmd.Process.Pid
	}
	if u.mainPID != nil {
		return u.mainPID(pid)
	}
	return pid, nil
}

func (u *fakeUnits) Stop(_ context.Context, name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stops++
	if cmd := u.running[name]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(filepath.Join(u.Host.Proc, strconv.Itoa(cmd.Process.Pid)))
		delete(u.running, name)
	}
	return nil
}

func (u *fakeUnits) List(context.Context, string) ([]systemd.UnitStatus, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := []systemd.UnitStatus{{Name: "banger-vm-foreign.service"}}
	for name := range u.running {
		all = append(all, systemd.UnitStatus{Name: name})
	}
	return all, nil
}

// fakeBlocks has the disks of the VMs that are in it: the device of /dev/null.
type fakeBlocks struct {
	attached map[string]bool
	detached func(id string) // called by Detach
	usage    blockdev.Usage
	fails    error // of Status
}

func (b *fakeBlocks) AttachSnapshot(_ context.Context, id string, base, cow *os.File) (blockdev.Device, error) {
	b.attached[id] = true
	return blockdev.Device{Name: "dm-0", Major: 252}, nil
}

func (b *fakeBlocks) AttachPlain(_ context.Context, id string, _ *os.File) (blockdev.Device, error) {
	b.attached[id] = true
	return blockdev.Device{Name: "loop0", Major: 7}, nil
}

func (b *fakeBlocks) Lookup(id string) (blockdev.Device, bool, error) {
	return blockdev.Device{Name: "loop0", Major: 7}, b.attached[id], nil
}

func (b *fakeBlocks) Detach(_ context.Context, id string) error {
	if b.detached != nil {
		b.detached(id)
	}
	delete(b.attached, id)
	return nil
}

func (b *fakeBlocks) Status(string) (blockdev.Usage, error) { return b.usage, b.fails }
func (b *fakeBlocks) List() ([]blockdev.Object, error) {
	var all []blockdev.Object
	for id := range b.attached {
		all = append(all, blockdev.Object{Kind: rootapi.KindDM, Name: vmid.Device(id), ID: id})
	}
	return all, nil
}
func (b *fakeBlocks) Available() error { return nil }

// fakeNets counts what it was asked for.
type fakeNets struct {
	mu                       sync.Mutex // guards detached: VMs are released at the same time
	attached, none, detached int
	plan                     network.Plan
	attaching                func() // called by Attach
}

func (n *fakeNets) Attach(_ context.Context, p network.Plan) error {
	if n.attaching != nil {
		n.attaching()
	}
	n.attached++
	n.plan = p
	return nil
}
func (n *fakeNets) AttachNone(context.Context, string) error { n.none++; return nil }
func (n *fakeNets) Detach(context.Context, string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.detached++
	return nil
}
func (n *fakeNets) List() ([]netns.Object, error) { return nil, nil }

// fakeFirewall only knows whether its table is loaded.
type fakeFirewall struct {
	loaded   atomic.Bool
	removing func() // called by Remove
}

func (f *fakeFirewall) Ensure(context.Context) error { f.loaded.Store(true); return nil }
func (f *fakeFirewall) Close()                       {}
func (f *fakeFirewall) Remove(context.Context) error {
	if f.removing != nil {
		f.removing()
	}
	f.loaded.Store(false)
	return nil
}
func (f *fakeFirewall) Check(context.Context) []api.Check { return nil }

// fakeNames only knows whether its link is there.
type fakeNames struct {
	there bool
	state resolved.State
	fails error
}

func (f *fakeNames) Ensure(context.Context) (resolved.State, error) {
	f.there = f.fails == nil
	return f.state, f.fails
}

func (f *fakeNames) Listen(context.Context) ([]*os.File, error) {
	one, other, err := os.Pipe()
	return []*os.File{one, other}, err
}

func (f *fakeNames) Remove() error { f.there = false; return nil }

// file is an open file with content.
func (w *fixture) file(content string) *os.File {
	w.TB.Helper()
	path := filepath.Join(w.dir(), "file")
	w.check(os.WriteFile(path, []byte(content), 0o600))
	f, err := os.Open(path)
	w.check(err)
	w.Cleanup(func() { f.Close() })
	return f
}

// read reads all that a file has.
func (w *fixture) read(path string) string {
	w.TB.Helper()
	data, err := os.ReadFile(path)
	w.check(err)
	return string(data)
}
