package vm

import (
	"io"
	"os"
	"testing"

	"banger/api"
)

// TestADiskGrows: what is recorded counts, the next start makes the file as long as that, and
// what it was made from is found and kept as before.
func TestADiskGrows(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", DiskBytes: 1 << 30}))
	set := func(disk int64) (api.VM, error) {
		return w.Set(t.Context(), "dev", api.SetVM{DiskBytes: &disk})
	}
	id := w.show("dev").ID
	for what, disk := range map[string]int64{"smaller": 1<<30 - mib, "none": 0, "no whole MiB": 1<<30 + 1, "longer than any": 32 << 40} {
		if v, err := set(disk); api.KindOf(err) != api.KindInvalid || api.AsError(err).Hint == "" {
			t.Errorf("%s: %d, %v", what, v.DiskSize(), err)
		}
	}
	if v, err := set(1 << 30); err != nil || v.GrownBytes != 0 {
		t.Errorf("as it is: %d, %v", v.GrownBytes, err)
	}
	if v, err := set(2 << 30); err != nil || v.DiskSize() != 2<<30 {
		t.Errorf("larger: %d, %v", v.DiskSize(), err)
	}
	if sizes, known := w.DisksInUse(digest); !known || len(sizes) != 1 || sizes[0] != 1<<30 {
		t.Errorf("disks in use: %v, %v", sizes, known)
	}
	length := func() int64 {
		info, err := os.Stat(w.disks.Path(id))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if length() >= 2<<30 {
		t.Error("the disk is longer before the start")
	}
	w.leave()
	w.enter()
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	if got := length(); got != 2<<30 {
		t.Errorf("after the start it has %d bytes", got)
	}
	f, err := os.Open(w.disks.Path(id))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begins := make([]byte, 9)
	if _, err := io.ReadFull(f, begins); err != nil || string(begins) != "the image" {
		t.Errorf("it begins with %q, %v", begins, err)
	}
	if _, err := set(3 << 30); api.KindOf(err) != api.KindConflict {
		t.Errorf("while it runs: %v", err)
	}
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	if _, err := set(1 << 30); api.KindOf(err) != api.KindInvalid {
		t.Errorf("back to what it was: %v", err)
	}
}

// TestADiskGrowsInSystemMode before it is attached.
func TestADiskGrowsInSystemMode(t *testing.T) {
	h := &host{}
	w := newWorldOn(t, h)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", DiskBytes: 1 << 30}))
	disk := int64(2 << 30)
	if _, err := w.Set(t.Context(), "dev", api.SetVM{DiskBytes: &disk}); err != nil {
		t.Fatal(err)
	}
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.attached != disk {
		t.Errorf("a disk of %d bytes was attached", h.attached)
	}
}
