package disktest

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"banger/internal/disk"
)

// ProbeNamesNothing has a driver look at a directory, in which it makes no file that has a
// name: one would be left if the daemon were killed just then.
func ProbeNamesNothing(t *testing.T, d disk.Driver) {
	t.Helper()
	dir := t.TempDir()
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, dir, unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	_ = d.Probe(t.Context(), dir, dir) // whatever it finds
	if n, err := unix.Read(watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a file has come into being there: %d bytes of events, %v", n, err)
	}
}
