package vm

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
	"banger/internal/op"
)

func (w *world) commitTo(ref, name string) (*op.Op, error) {
	return w.Commit(w.t.Context(), ref, api.CommitVM{Name: name})
}

// TestCommit: the image has what is on the disk, not what was on it at first.
func TestCommit(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	if err := os.WriteFile(w.disks.Path(w.show("dev").ID), []byte("written by the guest"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := w.commitTo("dev", "ready")
	if err := w.do(o, err); err != nil {
		t.Fatal(err)
	}
	var image *api.Image
	if err := o.Follow(t.Context(), func(e api.Event) error {
		if e.Result != nil {
			image = e.Result.Image
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if image == nil || image.Source != "dev" || image.Digest != digest || image.Names[0] != "ready" {
		t.Errorf("made %+v", image)
	}
	if got, err := os.ReadFile(filepath.Join(w.caches.dir, "ready")); string(got) != "written by the guest" {
		t.Errorf("the image has %q, %v", got, err)
	}
	if v := w.show("dev"); v.State != api.StateStopped {
		t.Errorf("the VM is %s", v.State)
	}
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
}

func TestCommitRefuses(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	for _, c := range []struct {
		ref, name string
		want      api.Kind
	}{
		{"dev", "ready", api.KindConflict},
		{"dev", "No Name", api.KindInvalid},
		{"nosuch", "ready", api.KindNotFound},
	} {
		if err := w.do(w.commitTo(c.ref, c.name)); api.KindOf(err) != c.want {
			t.Errorf("%s to %s: %v", c.ref, c.name, err)
		}
	}
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	if err := os.Remove(w.disks.Path(w.show("dev").ID)); err != nil {
		t.Fatal(err)
	}
	if err := w.do(w.commitTo("dev", "ready")); err == nil {
		t.Error("a VM without its disk became an image")
	}
	if _, err := os.Lstat(filepath.Join(w.caches.dir, "ready")); err == nil {
		t.Error("half an image is left")
	}
}

// TestCommitInterrupted: a daemon that dies leaves a VM that can be used.
func TestCommitInterrupted(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	w.caches.hold = make(chan struct{})
	if _, err := w.commitTo("dev", "ready"); err != nil {
		t.Fatal(err)
	}
	if err := w.do(w.Start(t.Context(), "dev", api.StartVM{})); api.KindOf(err) != api.KindConflict {
		t.Errorf("a start while the disk is read: %v", err)
	}
	w.leave()
	w.caches.hold = nil
	w.enter()
	w.settleOps()
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
}
