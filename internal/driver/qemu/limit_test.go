package qemu

import (
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
)

// TestFileSizeLimit: no VM is started whose disk would end at a limit of ours.
func TestFileSizeLimit(t *testing.T) {
	if err := checkFileSize(); err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, nil, &old); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: 1 << 30, Max: old.Max}
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, &low, nil); err != nil {
		t.Fatal(err)
	}
	defer unix.Prlimit(0, unix.RLIMIT_FSIZE, &old, nil)
	if err := api.AsError(checkFileSize()); err == nil || err.Hint == "" {
		t.Errorf("%v", err)
	}
}
