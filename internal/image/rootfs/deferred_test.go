package rootfs

import (
	"archive/tar"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTooMuchIsOwed: what does not fit the memory for it is left out, and told.
func TestTooMuchIsOwed(t *testing.T) {
	var d pendingAttrs
	d.held = maxDeferredBytes - nameCost - 3
	h := deviceEntry("dev", tar.TypeChar, 0o600, 1, 3)
	if !d.add(&h, unix.S_IFCHR) {
		t.Error("what fits is not taken")
	}
	h.Name = "more"
	if d.add(&h, unix.S_IFCHR) {
		t.Error("what does not fit is taken")
	}
	d.forget("dev")
	h.Name = "new"
	if !d.add(&h, unix.S_IFCHR) {
		t.Error("what is forgotten takes room")
	}
	d.forget("new")
	for _, bad := range []tar.Header{
		ownedBy(fileEntry("f", ""), 1<<32-1, 0), ownedBy(fileEntry("f", ""), 0, -1), deviceEntry("f", tar.TypeChar, 0, 4096, 0), deviceEntry("f", tar.TypeChar, 0, 0, 1<<20),
	} {
		if d.add(&bad, 0) {
			t.Errorf("%+v is taken", bad)
		}
	}
}
