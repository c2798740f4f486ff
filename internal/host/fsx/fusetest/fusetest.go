// Package fusetest tests that a caller does not wait for a user's file system.
package fusetest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// File returns a directory in a FUSE file system, as mounted by user 65534 with
// fusermount(1), whose program never answers. It is opened only as a path (O_PATH),
// which does not access the program. It needs root.
func File(t *testing.T) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root mounts a file system of another user")
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("NOT RUN: this host has no FUSE: %v", err)
	}
	dir := t.TempDir()
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=65534,group_id=65534", device.Fd())
	if err := unix.Mount("banger-test", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		device.Close() // nothing waits for it any more
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	f, err := os.OpenFile(dir, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
