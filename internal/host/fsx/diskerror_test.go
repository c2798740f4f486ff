package fsx

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"banger/api"
)

// TestDiskErrorsSayTheWayOut: full, read-only and somebody else's are three things.
func TestDiskErrorsSayTheWayOut(t *testing.T) {
	for cause, want := range map[syscall.Errno]struct {
		kind api.Kind
		hint string
	}{
		syscall.ENOSPC: {api.KindNoSpace, "banger image prune"},
		syscall.EROFS:  {api.KindDenied, "findmnt -T /home/x/lock"},
		syscall.EACCES: {api.KindDenied, "ls -ld /home/x "},
	} {
		err := api.AsError(DiskError("take the lock", &fs.PathError{Op: "open", Path: "/home/x/lock", Err: cause}))
		if err.Kind != want.kind || !strings.Contains(err.Hint, want.hint) || !strings.HasPrefix(err.Message, "cannot take the lock: ") {
			t.Errorf("%v: %+v", cause, err)
		}
	}
}
