package vm

import (
	"strings"
	"testing"

	"banger/api"
	"banger/internal/host/fileid"
)

// TestRegisteredDiskGrows: a disk over a file that is used in place begins with that file's size.
func TestRegisteredDiskGrows(t *testing.T) {
	w := newWorld(t)
	w.caches.registered = &api.RegisteredFiles{Rootfs: "/srv/work.ext4"}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	if v := w.show("dev"); v.DiskBytes != 64*mib || v.GrownBytes != 1<<30 {
		t.Errorf("by default %d and %d bytes", v.DiskBytes, v.GrownBytes)
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "exact", DiskBytes: 64 * mib}))
	if v := w.show("exact"); v.DiskBytes != 64*mib || v.GrownBytes != 0 {
		t.Errorf("exactly %d and %d bytes", v.DiskBytes, v.GrownBytes)
	}
	if _, err := w.Create(t.Context(), api.CreateVM{Name: "small", DiskBytes: 32 * mib}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("too small: %v", err)
	}
}

// TestChangedFileRefusesAStart: a disk that holds only changes is not used over another content, and a kernel not
// after its file was changed. With the right content again, the VM starts.
func TestChangedFileRefusesAStart(t *testing.T) {
	w := overlayWorld(t)
	w.caches.registered = &api.RegisteredFiles{Rootfs: "/srv/work.ext4"}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	w.caches.changed = &fileid.ChangedError{Path: "/srv/work.ext4", Err: api.Errorf(api.KindConflict, "its content has changed")}
	for what, err := range map[string]error{
		"start":  w.do(w.Start(t.Context(), "dev", api.StartVM{})),
		"commit": w.do(w.Commit(t.Context(), "dev", api.CommitVM{Name: "made"})),
	} {
		e := api.AsError(err)
		if e == nil || !strings.Contains(e.Message, "cannot use the disk of VM dev, which holds only the changes to a registered file: /srv/") ||
			!strings.Contains(e.Message, "/srv/work.ext4 is not what it was: its content has changed") || e.Hint != "restore /srv/work.ext4 as it was, or: banger vm delete dev" {
			t.Errorf("%s: %+v", what, e)
		}
	}
	w.caches.changed = nil
	w.caches.kernel = api.Errorf(api.KindConflict, "a file of its kernel was changed").WithHint("restore it")
	if err := w.do(w.Start(t.Context(), "dev", api.StartVM{})); err == nil || api.AsError(err).Message != "cannot start VM dev: a file of its kernel was changed" {
		t.Errorf("its kernel: %v", err)
	}
	w.caches.kernel = nil
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
}
