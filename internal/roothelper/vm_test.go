package roothelper

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/daemon/fcproc"
	"banger/internal/driver/firecracker"
	"banger/internal/rootapi"
)

// of names a VM.
func of(id string) rootapi.VM { return rootapi.VM{ID: id} }

func TestLifeOfAVM(t *testing.T) {
	w := newFixture(t)
	p, give := w.start(vm, 7)
	if p.Found || p.VMM != rootapi.Firecracker || p.Accel != "kvm" || !runs(p.PID) || len(give) != 2 || len(p.Timing) == 0 {
		t.Fatalf("%+v, %d files", p, len(give))
	}
	if err := unix.PidfdSendSignal(int(give[0].Fd()), 0, nil, 0); err != nil {
		t.Errorf("the first is no pidfd of it: %v", err)
	}
	var found rootapi.VMFindAnswer
	give = w.must(rootapi.VMFindCall{VM: of(vm), Hint: p}, &found)
	if found.Process == nil || found.Process.PID != p.PID || found.Process.StartTime != p.StartTime || len(give) != 1 {
		t.Errorf("found %+v, %d files", found.Process, len(give))
	}
	// Again: it runs already, and gets no second jail.
	var again rootapi.Process
	if give = w.must(w.startCall(vm, 7), &again, w.logs...); !again.Found || again.PID != p.PID || len(give) != 1 {
		t.Errorf("%+v, %d files", again, len(give))
	}
	for _, call := range []rootapi.Call{rootapi.VMReleaseCall{VM: of(vm)}, rootapi.ClearCall{}} {
		w.refuses(api.KindConflict, call)
	}
	if !runs(p.PID) || w.nets.detached != 0 || !w.blocks.attached[vm] {
		t.Error("what it needs was taken away")
	}
	for range 2 {
		w.kill(vm)
		if runs(p.PID) {
			t.Fatal("it runs on")
		}
	}
	if give = w.must(rootapi.VMFindCall{VM: of(vm), Hint: p}, &found); found.Process != nil || len(give) != 0 {
		t.Errorf("found after its end: %+v", found.Process)
	}
	for range 2 {
		w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
	}
	for _, path := range []string{w.jailFor(vm, "firecracker").dir, w.shortSocket(vm)} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if w.read(filepath.Join(w.Dirs.Boot, w.sum)) != "a kernel" {
		t.Error("the boot file is not what it was")
	}
	w.must(rootapi.ClearCall{}, nil)
}

func TestJailIsAsItMustBe(t *testing.T) {
	w := newFixture(t)
	w.start(vm, 7)
	const uid = uidBase + 7
	j := w.jailFor(vm, "firecracker")
	for path, want := range map[string]struct {
		mode     uint32
		uid, gid uint32
	}{
		w.Dirs.Jails:                           {unix.S_IFDIR | 0o711, 0, 0},
		filepath.Dir(j.dir):                    {unix.S_IFDIR | 0o711, 0, 0},
		j.dir:                                  {unix.S_IFDIR | 0o711, 0, uid},
		j.root + "/" + firecracker.DiskFile:    {unix.S_IFBLK | 0o600, uid, uid},
		j.root + "/" + firecracker.KernelFile:  {unix.S_IFREG | 0o444, 0, 0},
		j.root + "/" + firecracker.ConfigFile:  {unix.S_IFREG | 0o644, 0, 0},
		j.root + "/" + firecracker.ReadySocket: {unix.S_IFSOCK | 0o600, uid, uid},
	} {
		var st unix.Stat_t
		w.check(unix.Lstat(path, &st))
		if st.Mode != want.mode || st.Uid != want.uid || st.Gid != want.gid {
			t.Errorf("%s: mode %o, %d:%d", path, st.Mode, st.Uid, st.Gid)
		}
	}
	if config := w.read(filepath.Join(j.root, firecracker.ConfigFile)); !strings.Contains(config, " quiet ") {
		t.Errorf("Firecracker's configuration is %s", config)
	}
	u := w.units.last
	if u.Slice != "banger.slice" || u.DevicePolicy != "closed" || u.MemoryMax == 0 || u.TasksMax == 0 || u.Stdout != w.logs[0] || u.Stderr != w.logs[1] {
		t.Errorf("%+v", u)
	}
	if got := w.read(w.logs[0].Name()); !strings.Contains(got, "hello, console") {
		t.Errorf("the console's log has %q", got)
	}
}

func TestStartRefusesWhatIsNotThere(t *testing.T) {
	w := newFixture(t)
	w.refuses(api.KindConflict, w.startCall(vm, 1), w.logs...) // no disk
	w.blocks.attached[vm] = true
	c := w.startCall(vm, 1)
	c.Kernel = digestOf("never put")
	w.refuses(api.KindNotFound, c, w.logs...)
	w.refuses(api.KindInvalid, w.startCall(vm, w.Settings.UIDCount), w.logs...)
	w.refuses(api.KindInvalid, rootapi.NetAttachCall{VM: of(vm), Slot: w.Settings.UIDCount})
	w.units.fails = api.Errorf(api.KindInternal, "systemd says no")
	w.refuses(api.KindInternal, w.startCall(vm, 1), w.logs...)
	w.units.fails = nil
	w.start(vm, 1) // none of that stands in the way
	w.refuses(api.KindConflict, func() rootapi.Call { w.blocks.attached[another] = true; return w.startCall(another, 1) }(), w.logs...)
	if _, found, _ := w.findJail(another); found {
		t.Error("a jail with the user id of another VM was made")
	}
}

func TestVMMThatEndsAtOnce(t *testing.T) {
	w := newFixture(t)
	w.units.serve, w.units.args = nil, []string{"end"}
	w.blocks.attached[vm] = true
	began := time.Now()
	err := w.refuses(api.KindInternal, w.startCall(vm, 1), w.logs...)
	if time.Since(began) > w.ready || !strings.Contains(err.Error(), "firecracker ended at once: exit-code") || api.AsError(err).Hint == "" {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	w.kill(vm)
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
}

func TestVMMThatServesNothing(t *testing.T) {
	w := newFixture(t)
	w.units.serve, w.ready = nil, 100*time.Millisecond
	w.blocks.attached[vm] = true
	w.refuses(api.KindTimeout, w.startCall(vm, 1), w.logs...)
	var found rootapi.VMFindAnswer
	if w.must(rootapi.VMFindCall{VM: of(vm)}, &found); found.Process == nil {
		t.Error("it runs, and is not found")
	}
	w.kill(vm)
}

// TestUnitThatIsNoVMM: the jailer before it becomes Firecracker, or an impostor.
func TestUnitThatIsNoVMM(t *testing.T) {
	w := newFixture(t)
	w.start(vm, 1)
	w.check(os.Rename(w.jailFor(vm, "firecracker").root, filepath.Join(w.dir(), "elsewhere")))
	w.check(os.Mkdir(w.jailFor(vm, "firecracker").root, 0o711))
	w.refuses(api.KindInternal, rootapi.VMReleaseCall{VM: of(vm)})
	w.refuses(api.KindInternal, rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAPI})
	w.kill(vm) // by its unit
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
}

func TestReadySocket(t *testing.T) {
	w := newFixture(t)
	_, give := w.start(vm, 3)
	l, err := net.FileListener(give[1])
	w.check(err)
	defer l.Close()
	conn, err := net.Dial("unix", filepath.Join(w.root(vm), firecracker.ReadySocket))
	w.check(err)
	defer conn.Close()
	w.check(l.(*net.UnixListener).SetDeadline(time.Now().Add(5 * time.Second)))
	rung, err := l.Accept()
	w.check(err)
	rung.Close()
}

func TestDial(t *testing.T) {
	w := newFixture(t)
	w.refuses(api.KindConflict, rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAgent})
	w.start(vm, 3)
	for _, socket := range []string{rootapi.SocketAgent, rootapi.SocketAPI} {
		give := w.must(rootapi.VMDialCall{VM: of(vm), Socket: socket}, nil)
		conn, err := net.FileConn(give[0])
		w.check(err)
		_, err = conn.Write([]byte("x"))
		w.check(err)
		w.check(conn.(*net.UnixConn).CloseWrite())
		if got, err := io.ReadAll(conn); err != nil || string(got) != "x" {
			t.Errorf("%s: %q, %v", socket, got, err)
		}
		conn.Close()
	}
}

// TestDialTrustsNoJail: the VM's user can put anything in the place of a socket.
func TestDialTrustsNoJail(t *testing.T) {
	w := newFixture(t)
	w.start(vm, 3)
	w.start(another, 4)
	root := w.root(vm)
	path := filepath.Join(root, firecracker.VsockSocket)
	outside := filepath.Join(w.dir(), "host.sock") // of the host, served by root
	l, err := net.Listen("unix", outside)
	w.check(err)
	defer l.Close()
	call := rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAgent}
	for name, make := range map[string]func() error{
		"nothing":                                  func() error { return nil },
		"link to a socket outside":                 func() error { return os.Symlink(outside, path) },
		"link to another VM's socket":              func() error { return os.Symlink(filepath.Join(w.root(another), firecracker.VsockSocket), path) },
		"link upwards":                             func() error { return os.Symlink("../../"+another+"/root/"+firecracker.VsockSocket, path) },
		"link to its own other":                    func() error { return os.Symlink(firecracker.APISocket, path) },
		"hard link to a socket of another process": func() error { return os.Link(outside, path) },
		"hard link to another VM's socket":         func() error { return os.Link(filepath.Join(w.root(another), firecracker.VsockSocket), path) },
		"FIFO":                                     func() error { return unix.Mkfifo(path, 0o666) },
		"regular file":                             func() error { return os.WriteFile(path, nil, 0o666) },
		"directory":                                func() error { return os.Mkdir(path, 0o777) },
		"device":                                   func() error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) },
		"socket that nobody serves": func() error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
	} {
		w.check(os.RemoveAll(path))
		w.check(make())
		want := api.KindInternal
		if strings.HasPrefix(name, "hard link") {
			want = api.KindDenied
		}
		t.Log(name)
		w.refuses(want, call)
	}
	// Above the root only root can do that; it is not followed all the same.
	w.check(os.RemoveAll(path))
	w.check(os.Rename(root, root+".moved"))
	w.check(os.Symlink(root+".moved", root))
	w.refuses(api.KindInternal, call)
	dir := filepath.Dir(root)
	w.check(os.Rename(dir, dir+".moved"))
	w.check(os.Symlink(dir+".moved", dir))
	w.refuses(api.KindInternal, call) // its unit runs, and it has no jail
	w.kill(vm)
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
}

// TestSignalReachesTheVMM: a signal goes to the VMM alone, and its unit is left to whoever waits.
func TestSignalReachesTheVMM(t *testing.T) {
	w := newFixture(t)
	p, _ := w.start(vm, 1)
	other, _ := w.start(another, 2)
	stops := w.units.stops
	w.refuses(api.KindInvalid, rootapi.VMKillCall{VM: of(vm), Signal: "STOP"})
	w.refuses(api.KindInvalid, rootapi.VMKillCall{VM: of(vm), Signal: "9"})
	if !runs(p.PID) {
		t.Error("a refused signal has ended the VMM")
	}
	w.must(rootapi.VMKillCall{VM: of(vm), Signal: api.SignalTerm}, nil)
	for end := time.Now().Add(10 * time.Second); runs(p.PID); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the VMM runs")
		}
	}
	w.must(rootapi.VMKillCall{VM: of(vm), Signal: api.SignalTerm}, nil) // there is none any more
	if w.units.stops != stops || !runs(other.PID) {
		t.Errorf("%d units were stopped; another VMM runs: %t", w.units.stops-stops, runs(other.PID))
	}
}

// TestKillReachesNobodyElse: whatever leads to a process, it must be the VM's.
func TestKillReachesNobodyElse(t *testing.T) {
	w := newFixture(t)
	p, _ := w.start(vm, 1)
	other, _ := w.start(another, 2)
	liar := w.link(filepath.Join(w.dir(), "firecracker"))
	bystanders := map[string]int{"another VM": other.PID}
	for name, c := range map[string]struct {
		uid    int
		cgroup string
		root   string
	}{
		"root's, which names the socket":          {0, "/user.slice", ""},
		"the owner's, which names the socket":     {owner, "/user.slice", ""},
		"another's in the unit's cgroup":          {owner, fcproc.Cgroup(vm), ""},
		"with the VM's user id, in no unit":       {uidBase + 1, "/user.slice", w.root(vm)},
		"with the VM's user id, in another's":     {uidBase + 1, fcproc.Cgroup(another), w.root(vm)},
		"with the VM's user id, not in the jail":  {uidBase + 1, fcproc.Cgroup(vm), ""},
		"with another's user id, in the jail":     {uidBase + 2, fcproc.Cgroup(vm), w.root(vm)},
		"with the owner's user id, and in a unit": {owner, "/user.slice/" + "banger-vm-" + vm + ".service", ""},
	} {
		cmd := exec.Command(liar, w.shortSocket(vm))
		if c.root != "" {
			cmd = exec.Command("/firecracker", w.shortSocket(vm))
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root}
		}
		bystanders[name] = w.process(cmd, c.uid, c.cgroup).Process.Pid
	}
	var found rootapi.VMFindAnswer
	for name, pid := range bystanders {
		w.must(rootapi.VMFindCall{VM: of(vm), Hint: rootapi.Process{PID: pid, StartTime: p.StartTime, BootID: p.BootID}}, &found)
		if found.Process == nil || found.Process.PID != p.PID {
			t.Errorf("hint %s: found %+v", name, found.Process)
		}
	}
	for range 2 {
		w.kill(vm)
	}
	if runs(p.PID) {
		t.Error("the VM runs on")
	}
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
	for name, pid := range bystanders {
		if !runs(pid) {
			t.Errorf("%s was killed", name)
		}
	}
}

// TestUserIDOfAnotherVM: a file in the place of a jail does not hide the jails behind it.
func TestUserIDOfAnotherVM(t *testing.T) {
	w := newFixture(t)
	_, err := w.makeJail(t.Context(), another, "firecracker", uidBase+1)
	w.check(err)
	w.check(os.WriteFile(w.jailFor(vm, "firecracker").dir, nil, 0o600)) // its name comes first
	if err := w.mustBeUnused(uidBase + 1); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), another) {
		t.Error(err)
	}
	w.check(w.mustBeUnused(uidBase + 2))
}

// TestUserIDsOfVMs: a user id outside of the range is never a VM's.
func TestUserIDsOfVMs(t *testing.T) {
	s := Settings{UIDBase: uidBase, UIDCount: 100}
	for uid, want := range map[uint32]bool{0: false, uidBase - 1: false, uidBase: true, uidBase + 99: true, uidBase + 100: false} {
		if s.owns(uid) != want {
			t.Errorf("user id %d is a VM's: %t", uid, !want)
		}
	}
}

// TestJailOfNoVM: the group of a jail says whose it is.
func TestJailOfNoVM(t *testing.T) {
	w := newFixture(t)
	j := w.jailFor(vm, "firecracker")
	w.check(os.MkdirAll(j.root, 0o711))
	for name, c := range map[string]struct {
		gid  int
		kind api.Kind
	}{
		"root's":            {0, ""}, // it was being made
		"the owner's":       {owner, api.KindInternal},
		"below the range":   {uidBase - 1, api.KindInternal},
		"above the range":   {uidBase + w.Settings.UIDCount, api.KindInternal},
		"of no other order": {1, api.KindInternal},
	} {
		w.check(os.Chown(j.dir, 0, c.gid))
		var found rootapi.VMFindAnswer
		if _, err := w.ask(rootapi.VMFindCall{VM: of(vm)}, &found); api.KindOf(err) != c.kind || found.Process != nil {
			t.Errorf("%s: %+v, %v", name, found.Process, err)
		}
		stops := w.units.stops
		_, err := w.ask(rootapi.VMKillCall{VM: of(vm)}, nil)
		if api.KindOf(err) != c.kind || w.units.stops != stops+1 {
			t.Errorf("%s: killed with %v", name, err)
		}
	}
	w.check(os.Chown(j.dir, 0, 0))
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
}

// TestJailThatIsHalfGone: a helper that ended while it removed one is in nobody's
// way.
func TestJailThatIsHalfGone(t *testing.T) {
	w := newFixture(t)
	j := w.jailFor(vm, "firecracker")
	w.check(os.MkdirAll(j.dir, 0o711))
	w.check(os.Chown(j.dir, 0, uidBase+1))
	w.kill(vm)
	w.start(vm, 1)
	w.kill(vm)
	w.check(os.RemoveAll(j.root))
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
}

// TestProgramOfAnotherName: what firecracker is a link to may have a long name,
// of which a process's name has the first part.
func TestProgramOfAnotherName(t *testing.T) {
	w := newFixture(t)
	real := w.program("firecracker-v1.16.1-x86_64", "Firecracker v1.16.1")
	w.Settings.Firecracker = filepath.Join(w.dir(), "firecracker")
	w.check(os.Symlink(real, w.Settings.Firecracker))
	found, err := w.programs.firecracker(w.Settings)
	if err != nil || found.firecracker != real {
		t.Fatalf("%+v, %v", found, err)
	}
	j, err := w.makeJail(t.Context(), vm, filepath.Base(real), uidBase+1)
	w.check(err)
	w.link(filepath.Join(j.root, filepath.Base(real)))
	cmd := exec.Command("/" + filepath.Base(real))
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: j.root}
	cmd = w.process(cmd, uidBase+1, fcproc.Cgroup(vm))
	var answer rootapi.VMFindAnswer
	if w.must(rootapi.VMFindCall{VM: of(vm)}, &answer); answer.Process == nil || answer.Process.PID != cmd.Process.Pid {
		t.Errorf("found %+v", answer.Process)
	}
}

// TestQEMU starts the real launcher, which becomes what stands for QEMU.
func TestQEMU(t *testing.T) {
	w := newFixture(t)
	w.blocks.attached[vm] = true
	c := w.startCall(vm, 5)
	c.VMM, c.Accel, c.Cmdline = rootapi.QEMU, "tcg", "quiet ${HOME} $PATH"
	var p rootapi.Process
	if give := w.must(c, &p, w.logs...); p.VMM != rootapi.QEMU || len(give) != 1 {
		t.Fatalf("%+v, %d files", p, len(give))
	}
	u := w.units.last
	if !u.NoNewPrivileges || !slices.Equal(u.CapabilityBoundingSet, []int{unix.CAP_SETUID, unix.CAP_SETGID}) || u.Files.ProtectSystem != "strict" || u.Files.ProtectHome != "yes" || u.NetworkNamespacePath != "/run/netns/banger-"+vm {
		t.Errorf("%+v", u)
	}
	for _, arg := range u.Exec {
		if strings.Contains(strings.ReplaceAll(arg, "$$", ""), "$") {
			t.Errorf("systemd would replace a variable in %q", arg)
		}
	}
	if i := slices.Index(u.Exec, "-m"); i < 0 || u.Exec[i+1] != "size=134217728B" {
		t.Errorf("%q", u.Exec)
	}
	j := w.jailFor(vm, qemuProgram)
	conn, err := net.Dial("unix", filepath.Join(j.root, qemuAgent))
	if err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	awaitName(t, p.PID, "qemu-system-x86")
	status := w.read(filepath.Join("/proc", itoa(p.PID), "status"))
	group := " " // of root's none is left
	for _, g := range kvmGroup() {
		group = itoa(g) + " "
	}
	for _, line := range []string{
		"Uid:\t1900000005\t1900000005\t1900000005\t1900000005\n", "Gid:\t1900000005\t1900000005\t1900000005\t1900000005\n",
		"Groups:\t" + group + "\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
	} {
		if !strings.Contains(status, line) {
			t.Errorf("QEMU's status has no %q:\n%s", line, status)
		}
	}
	var found rootapi.VMFindAnswer
	if w.must(rootapi.VMFindCall{VM: of(vm)}, &found); found.Process == nil || found.Process.PID != p.PID || found.Process.VMM != rootapi.QEMU || found.Process.Accel != "tcg" {
		t.Errorf("found %+v", found.Process)
	}
	w.must(rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAPI}, nil)
	w.kill(vm)
	if runs(p.PID) {
		t.Error("it runs on")
	}
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
}

// TestQEMUOfAnotherName: as RHEL calls it, and as one that was taken over may call
// itself.
func TestQEMUOfAnotherName(t *testing.T) {
	w := newFixture(t)
	w.Settings.QEMU = w.link(filepath.Join(w.dir(), "qemu-kvm"))
	w.blocks.attached[vm] = true
	c := w.startCall(vm, 5)
	c.VMM, c.Accel = rootapi.QEMU, "tcg"
	var p rootapi.Process
	w.must(c, &p, w.logs...)
	awaitName(t, p.PID, "qemu-kvm")
	var found rootapi.VMFindAnswer
	if w.must(rootapi.VMFindCall{VM: of(vm)}, &found); found.Process == nil || found.Process.PID != p.PID {
		t.Errorf("found %+v", found.Process)
	}
	w.must(rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAPI}, nil)
	w.kill(vm)
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
}

// awaitName waits until the launcher has become a program.
func awaitName(t *testing.T, pid int, name string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		data, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "comm"))
		if err != nil || strings.TrimSpace(string(data)) == name {
			return
		}
	}
	t.Errorf("process %d does not become %s", pid, name)
}
