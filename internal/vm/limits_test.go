package vm

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/disk"
)

// TestTooLongForTheFileSystem: a disk that no file there can hold is refused before anything
// is touched, and where one is met later, it is called so.
func TestTooLongForTheFileSystem(t *testing.T) {
	w := newWorld(t)
	const most = 256 * mib
	var before unix.Rlimit
	limit := func(to unix.Rlimit) {
		t.Helper()
		if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, &to, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, nil, &before); err != nil {
		t.Fatal(err)
	}
	limit(unix.Rlimit{Cur: most, Max: before.Max})
	defer limit(before)
	_, err := w.Create(t.Context(), api.CreateVM{DiskBytes: most + mib})
	if api.KindOf(err) != api.KindNoSpace || api.AsError(err).Hint == "" {
		t.Errorf("kind %s: %v", api.KindOf(err), err)
	}
	w.nothingLeft()
	w.must(w.Create(t.Context(), api.CreateVM{DiskBytes: most}))

	path := t.TempDir() + "/disk"
	err = disk.Make(t.Context(), path, func(f *os.File) error { return f.Truncate(most + 1) })
	if api.KindOf(err) != api.KindNoSpace || api.AsError(err).Hint == "" {
		t.Errorf("kind %s: %v", api.KindOf(err), err)
	}
}
