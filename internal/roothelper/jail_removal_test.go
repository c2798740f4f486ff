package roothelper

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/rootapi"
	"banger/internal/roothelper/removetree"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestRemovalStaysInTheJail: a jail is removed whole, and nothing else.
func TestRemovalStaysInTheJail(t *testing.T) {
	w := newFixture(t)
	precious := w.dir()
	w.check(os.WriteFile(filepath.Join(precious, "file"), []byte("kept"), 0o600))
	w.check(os.Mkdir(filepath.Join(precious, "1"), 0o700))
	j, err := w.makeJail(t.Context(), vm, "firecracker", uidBase+1)
	w.check(err)
	neighbour, err := w.makeJail(t.Context(), another, "firecracker", uidBase+2)
	w.check(err)
	in := func(names ...string) string { return filepath.Join(append([]string{j.root}, names...)...) }
	w.check(os.MkdirAll(in("a", "b", "c"), 0))
	w.check(os.MkdirAll(in("1", "2", "3"), 0o700)) // names that are given to what is moved
	w.check(os.MkdirAll(in("a2", "1", "x"), 0o700))
	w.check(os.Symlink(precious, in("link")))
	w.check(os.Symlink(precious, in("a", "b", "link")))
	w.check(os.Symlink("../../"+another, in("a", "up")))
	w.check(os.Symlink("nowhere", in("broken")))
	w.check(os.Link(filepath.Join(precious, "file"), in("hard")))
	w.check(unix.Mkfifo(in("a", "fifo"), 0))
	w.check(unix.Mknod(in("null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	for i := range 300 {
		w.check(os.WriteFile(in("a", fmt.Sprint("many", i)), nil, 0))
	}
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
	if _, err := os.Lstat(j.dir); !os.IsNotExist(err) {
		t.Errorf("the jail is left: %v", err)
	}
	if w.read(filepath.Join(precious, "file")) != "kept" {
		t.Error("a file outside was changed")
	}
	for _, path := range []string{filepath.Join(precious, "1"), neighbour.root} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("something outside is gone: %v", err)
		}
	}
}

// TestRemovalOfADeepJail: deeper than there may be open files.
func TestRemovalOfADeepJail(t *testing.T) {
	w := newFixture(t)
	j, err := w.makeJail(t.Context(), vm, "firecracker", uidBase+1)
	w.check(err)
	dir, err := removetree.OpenDir(unix.AT_FDCWD, j.root)
	w.check(err)
	const depth = 1000
	for range depth {
		w.check(unix.Mkdirat(int(dir.Fd()), "d", 0o700))
		w.check(unix.Symlinkat("/", int(dir.Fd()), "root"))
		next, err := removetree.OpenDir(int(dir.Fd()), "d")
		w.check(err)
		dir.Close()
		dir = next
	}
	dir.Close()
	var old unix.Rlimit
	w.check(unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	w.check(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: old.Max}))
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }()
	w.must(rootapi.VMReleaseCall{VM: of(vm)}, nil)
	if _, err := os.Lstat(j.dir); !os.IsNotExist(err) {
		t.Errorf("the jail is left: %v", err)
	}
}

// TestRemovalErrorKeepsTheHint: it says that another try continues.
func TestRemovalErrorKeepsTheHint(t *testing.T) {
	err := removalError(vm, api.Errorf(api.KindTimeout, "too many").WithHint("try again"))
	if e := api.AsError(err); e.Kind != api.KindTimeout || e.Hint != "try again" || !strings.Contains(e.Message, vm) {
		t.Errorf("%+v", e)
	}
}

// TestOpenBeneath: no component leads elsewhere, whoever made it.
func TestOpenBeneath(t *testing.T) {
	w := newFixture(t)
	dir := w.dir()
	w.check(os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	w.check(os.Symlink("a", filepath.Join(dir, "link")))
	w.check(os.Symlink("/", filepath.Join(dir, "root")))
	top, err := removetree.OpenDir(unix.AT_FDCWD, dir)
	w.check(err)
	defer top.Close()
	for _, name := range []string{"link/b", "root/etc", "..", "a/../..", "a/../../" + filepath.Base(dir), "/etc", filepath.Join(dir, "a"), ""} {
		if f, err := openBeneath(top, name, unix.O_PATH); err == nil {
			f.Close()
			t.Errorf("%q was opened", name)
		}
	}
	f, err := openBeneath(top, "a/b", unix.O_PATH|unix.O_DIRECTORY)
	w.check(err)
	defer f.Close()
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("programs that the helper runs get it: %d, %v", flags, err)
	}
	j := w.jailFor(vm, "firecracker")
	w.check(os.MkdirAll(j.dir, 0o700))
	w.check(os.WriteFile(j.root, nil, 0o600))
	if f, err := w.openRoot(j); err == nil {
		f.Close()
		t.Error("a file was taken for the root of a jail")
	}
}
