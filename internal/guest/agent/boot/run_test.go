package bootup

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ownMounts gives the test's thread a mount namespace, which ends with it.
func ownMounts(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "")
	}
	if err != nil {
		t.Skipf("NOT RUN: this user may make no mount namespace: %v", err)
	}
}

// tmpRun is guestFS's /run, mounted on dir.
func tmpRun(dir, size string) mount {
	for _, m := range guestFS() {
		if m.target == runDir {
			m.target, m.data = dir, m.data+",size="+size
			return m
		}
	}
	return mount{}
}

func TestMountRun(t *testing.T) {
	ownMounts(t)
	run, staged := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "staged")
	for _, dir := range []string{"", "mysqld", "lock/sub"} {
		check(t, os.MkdirAll(filepath.Join(run, dir), 0o755))
	}
	file := filepath.Join(run, "lock/sub/file")
	check(t, os.WriteFile(file, []byte("content"), 0o640))
	check(t, unix.Chmod(file, 0o4640))
	check(t, os.Link(file, filepath.Join(run, "again")))
	check(t, os.Symlink("lock/sub", filepath.Join(run, "link")))
	check(t, unix.Mkfifo(filepath.Join(run, "fifo"), 0o622))
	check(t, unix.Mknod(filepath.Join(run, "socket"), unix.S_IFSOCK|0o600, 0))
	check(t, unix.Setxattr(filepath.Join(run, "mysqld"), "trusted.test", []byte("yes"), 0))
	check(t, os.Lchown(filepath.Join(run, "link"), 7, 8))
	check(t, os.Chown(filepath.Join(run, "mysqld"), 1000, 1001))
	check(t, unix.Chmod(filepath.Join(run, "mysqld"), 0o2770))
	then := time.Unix(1e9, 5)
	check(t, os.Chtimes(filepath.Join(run, "mysqld"), then, then))
	check(t, os.Chmod(run, 0o751))

	check(t, mountRun(tmpRun(run, "1m"), staged))
	defer unix.Unmount(run, unix.MNT_DETACH)
	var fs unix.Statfs_t
	check(t, unix.Statfs(run, &fs))
	if fs.Type != unix.TMPFS_MAGIC {
		t.Fatalf("/run is of type %#x, not a tmpfs", fs.Type)
	}
	stat := func(name string) unix.Stat_t {
		var st unix.Stat_t
		check(t, unix.Lstat(filepath.Join(run, name), &st))
		return st
	}
	if d := stat("mysqld"); d.Uid != 1000 || d.Gid != 1001 || d.Mode != unix.S_IFDIR|0o2770 || d.Mtim.Sec != 1e9 || d.Mtim.Nsec != 5 {
		t.Errorf("mysqld: %+v", d)
	}
	if r := stat(""); r.Mode != unix.S_IFDIR|0o751 {
		t.Errorf("the mode of /run is %o", r.Mode)
	}
	if a, b := stat("again"), stat("lock/sub/file"); a.Ino != b.Ino || a.Mode != unix.S_IFREG|0o4640 {
		t.Errorf("links: %+v %+v", a, b)
	}
	if l := stat("link"); l.Mode&unix.S_IFMT != unix.S_IFLNK || l.Uid != 7 || l.Gid != 8 {
		t.Errorf("link: %+v", l)
	}
	if f := stat("fifo"); f.Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Errorf("fifo: %+v", f)
	}
	value := make([]byte, 10)
	if n, err := unix.Getxattr(filepath.Join(run, "mysqld"), "trusted.test", value); err != nil || string(value[:n]) != "yes" {
		t.Errorf("attribute: %q, %v", value, err)
	}
	if data, err := os.ReadFile(filepath.Join(run, "link/file")); err != nil || string(data) != "content" {
		t.Errorf("file: %q, %v", data, err)
	}
	if _, err := os.Lstat(filepath.Join(run, "socket")); !os.IsNotExist(err) {
		t.Errorf("a socket that nobody listens at: %v", err)
	}
	if _, err := os.Lstat(staged); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", staged, err)
	}
}

// What does not fit is said, and there is a /run with room all the same.
func TestMountRunTooLarge(t *testing.T) {
	ownMounts(t)
	run := t.TempDir()
	check(t, os.WriteFile(filepath.Join(run, "large"), make([]byte, 300<<10), 0o644))
	err := mountRun(tmpRun(run, "1m"), filepath.Join(t.TempDir(), "staged"))
	defer unix.Unmount(run, unix.MNT_DETACH)
	if err == nil || !strings.Contains(err.Error(), "large does not fit") {
		t.Errorf("got %v", err)
	}
	check(t, os.WriteFile(filepath.Join(run, "new"), make([]byte, 100<<10), 0o644))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
