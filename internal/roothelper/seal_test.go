package roothelper

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/rootapi"
	"banger/internal/roothelper/removetree"
)

// cannotWrite fails if the VM's user can make a file in a directory.
func (w *fixture) cannotWrite(uid int, dirs ...string) {
	w.TB.Helper()
	for _, dir := range dirs {
		var st unix.Stat_t
		w.check(unix.Lstat(dir, &st))
		if st.Uid != 0 || st.Gid != 0 || st.Mode&0o7777 != 0o711 {
			w.Errorf("%s: mode %o, %d:%d", dir, st.Mode, st.Uid, st.Gid)
		}
		touch := exec.Command("touch", filepath.Join(dir, "new"))
		touch.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		if out, err := touch.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
			w.Errorf("the VM's user makes a file in %s: %v, %s", dir, err, out)
		}
	}
}

// asJailer makes what a jailer makes, for the VM's user.
func (w *fixture) asJailer(root string, uid int) {
	w.TB.Helper()
	w.check(os.MkdirAll(filepath.Join(root, "dev", "net"), 0o700))
	w.check(os.Mkdir(filepath.Join(root, "run"), 0o700))
	w.check(unix.Mknod(filepath.Join(root, "dev", "kvm"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	for _, name := range []string{"", "dev", "dev/net", "run", "dev/kvm"} {
		w.check(os.Chown(filepath.Join(root, name), uid, uid))
	}
}

// TestAVMMThatServesCannotWrite: the jail is root's again, in all that the jailer makes and
// whatever the VMM made meanwhile.
func TestAVMMThatServesCannotWrite(t *testing.T) {
	w := newFixture(t)
	const uid = uidBase + 7
	root, precious := w.root(vm), filepath.Join(w.dir(), "precious")
	w.check(os.WriteFile(precious, []byte("kept"), 0o600))
	w.check(os.Chown(precious, owner, owner))
	w.units.starting = func() {
		w.asJailer(root, uid)
		for _, name := range []string{"made", "run/made"} {
			w.check(os.WriteFile(filepath.Join(root, name), nil, 0o666))
			w.check(os.Chown(filepath.Join(root, name), uid, uid))
		}
		w.check(os.Symlink(precious, filepath.Join(root, "link")))
		w.check(os.Symlink(filepath.Dir(precious), filepath.Join(root, "dev", "link")))
	}
	w.start(vm, 7)
	w.cannotWrite(uid, root, filepath.Join(root, "dev"), filepath.Join(root, "dev", "net"), filepath.Join(root, "run"))
	var st unix.Stat_t
	for _, name := range []string{"made", "run/made", "firecracker"} {
		if w.check(unix.Lstat(filepath.Join(root, name), &st)); st.Uid != 0 {
			t.Errorf("%s is user %d's: it can grow", name, st.Uid)
		}
	}
	if w.check(unix.Lstat(filepath.Join(root, "dev", "kvm"), &st)); st.Uid != uid {
		t.Errorf("the node is user %d's: the VMM could not open it", st.Uid)
	}
	if w.check(unix.Lstat(precious, &st)); st.Uid != owner {
		t.Error("a link led out of the jail")
	}
	w.must(rootapi.VMDialCall{VM: of(vm), Socket: rootapi.SocketAPI}, nil)
}

// TestJailThatTheVMMFilled: a VMM that was quicker is not served with its files in place.
func TestJailThatTheVMMFilled(t *testing.T) {
	for name, fill := range map[string]func(w *fixture, root string){
		"deep": func(w *fixture, root string) { w.check(os.MkdirAll(filepath.Join(root, "1/2/3/4/5"), 0o700)) },
		"wide": func(w *fixture, root string) {
			for i := range jailEntries {
				w.check(os.Mkdir(filepath.Join(root, itoa(i)), 0o700))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.blocks.attached[vm] = true
			w.units.starting = func() { fill(w, w.root(vm)) }
			if err := w.refuses(api.KindInternal, w.startCall(vm, 1), w.logs...); !strings.Contains(err.Error(), "than a jailer creates") {
				t.Error(err)
			}
			w.kill(vm)
			w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
		})
	}
}

// TestJailThatWasNotSealed: the helper ended before it came to it, or was of an older
// version. Whoever asks for the VM has it done.
func TestJailThatWasNotSealed(t *testing.T) {
	w := newFixture(t)
	const uid = uidBase + 7
	w.start(vm, 7)
	root := w.root(vm)
	for name, call := range map[string]func(){
		"vm-find":  func() { w.must(rootapi.VMFindCall{VM: of(vm)}, nil) },
		"vm-start": func() { w.must(w.startCall(vm, 7), nil, w.logs...) },
	} {
		w.check(os.Chown(root, uid, uid))
		w.check(os.Chmod(root, 0o700))
		call()
		t.Log(name)
		w.cannotWrite(uid, root)
	}
	// One that serves nothing yet must be able to bind its sockets.
	w.check(errors.Join(os.Chown(root, uid, uid), os.Remove(filepath.Join(root, "v.sock"))))
	w.must(rootapi.VMFindCall{VM: of(vm)}, nil)
	var st unix.Stat_t
	if w.check(unix.Lstat(root, &st)); st.Uid != uid {
		t.Error("the jail was taken from a VMM that serves nothing yet")
	}
}

// TestSealedJailIsLeftAlone: sealing happens once, and its limits are for what is not sealed.
func TestSealedJailIsLeftAlone(t *testing.T) {
	w := newFixture(t)
	w.start(vm, 7)
	root := w.root(vm)
	w.check(os.Chmod(root, 0o700))
	w.must(rootapi.VMFindCall{VM: of(vm)}, nil)
	if info, err := os.Stat(root); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestLimitsOfSealing: the last entry and the last level are allowed.
func TestLimitsOfSealing(t *testing.T) {
	w := newFixture(t)
	root := w.dir()
	w.check(os.MkdirAll(filepath.Join(root, "1/2/3"), 0o700))
	for i := range 7 {
		w.check(os.WriteFile(filepath.Join(root, "1", itoa(i+3)), nil, 0o600))
	}
	dir, err := removetree.OpenDir(unix.AT_FDCWD, root)
	w.check(err)
	defer dir.Close()
	for name, c := range map[string]struct {
		depth, entries int
		refused        bool
	}{
		"as much as there is": {4, 10, false}, "an entry more": {4, 9, true}, "a level more": {3, 10, true}, "far more": {4, 3, true},
	} {
		left := c.entries
		if err := sealDir(dir, ".", c.depth, &left); (err != nil) != c.refused || err == nil && left != 0 {
			t.Errorf("%s: %v, %d left", name, err, left)
		}
	}
}

// TestJailOfQEMU is root's from the beginning: the launcher binds the sockets.
func TestJailOfQEMU(t *testing.T) {
	w := newFixture(t)
	w.blocks.attached[vm] = true
	c := w.startCall(vm, 5)
	c.VMM, c.Accel = rootapi.QEMU, "tcg"
	w.units.starting = func() { w.cannotWrite(uidBase+5, w.jailFor(vm, qemuProgram).root) }
	w.must(c, nil, w.logs...)
	w.cannotWrite(uidBase+5, w.jailFor(vm, qemuProgram).root)
}

// TestSealingLocksNobodyOut: a VMM opens its devices while its jail is being sealed.
func TestSealingLocksNobodyOut(t *testing.T) {
	w := newFixture(t)
	const uid, seals = uidBase + 7, 2000
	j := jail{dir: filepath.Dir(w.root(vm)), root: w.root(vm)}
	w.check(os.MkdirAll(j.dir, 0o755))
	w.asJailer(j.root, uid)
	stop, refused := make(chan struct{}), make(chan int)
	go func() {
		runtime.LockOSThread() // for good: the thread keeps the user id
		_ = unix.Setfsuid(uid)
		n := 0
		for {
			select {
			case <-stop:
				refused <- n
				return
			default:
			}
			fd, err := unix.Open(filepath.Join(j.root, "dev", "kvm"), unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				n++
				continue
			}
			unix.Close(fd)
		}
	}()
	for range seals {
		for _, name := range []string{"", "dev", "dev/net", "run"} {
			w.check(os.Chown(filepath.Join(j.root, name), uid, uid))
			w.check(os.Chmod(filepath.Join(j.root, name), 0o700))
		}
		w.check(w.seal(j))
	}
	close(stop)
	// The kernel reads a directory's mode and owner one after the other: a thread that loses
	// the processor in between may combine the mode of before with the owner of after.
	if n := <-refused; n > seals/100 {
		t.Errorf("the VMM could not open its device %d times", n)
	}
}
