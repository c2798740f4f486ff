package vm

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"banger/api"
)

// lockedImages delete as the cache does: they hold it from the look at who uses an image
// until that is deleted.
type lockedImages struct {
	fakeImages
	lock  *sync.Mutex
	asked chan struct{} // closed once a deletion has asked
	goOn  chan struct{} // a deletion waits for it between the look and the removal
}

func (l lockedImages) Get(ref string) (api.Image, error) {
	if ref == digest {
		l.lock.Lock()
		defer l.lock.Unlock()
	}
	return l.fakeImages.Get(ref)
}

func (l lockedImages) Disk(_ context.Context, d string, _ int64, _ api.Report) (string, error) {
	path := filepath.Join(l.dir, "base")
	if _, err := os.Stat(path); err != nil {
		return "", api.Errorf(api.KindNotFound, "no image with digest %s", d)
	}
	return path, nil
}

func (l lockedImages) delete(inUse func(string) []string) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	used := len(inUse(digest)) > 0
	close(l.asked)
	<-l.goOn
	if !used {
		_ = os.Remove(filepath.Join(l.dir, "base"))
	}
	return !used
}

// TestDeletionOfAnImageAndCreation: a deletion that did not see the VM is over before the
// VM's disk is made, so that no disk is made of what goes.
func TestDeletionOfAnImageAndCreation(t *testing.T) {
	w := newWorld(t)
	images := lockedImages{fakeImages{w.caches}, &sync.Mutex{}, make(chan struct{}), make(chan struct{})}
	if err := os.WriteFile(filepath.Join(w.caches.dir, "base"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.setImages(images)
	deleted := make(chan bool)
	go func() { deleted <- images.delete(w.InUse) }()
	<-images.asked
	o, err := w.Create(t.Context(), api.CreateVM{Name: "dev"})
	if err != nil {
		t.Fatal(err)
	}
	untilStep(t, o, "disk")
	close(images.goOn)
	if !<-deleted {
		t.Error("the image was in use before there was a VM")
	}
	if err := o.Wait(t.Context()); api.KindOf(err) != api.KindNotFound {
		t.Errorf("a VM was made of an image that is gone: %v", err)
	}
	w.nothingLeft()
}
