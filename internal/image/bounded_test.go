package image

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/image/imagetest"
	"banger/internal/image/tarball"
)

// TestALookIsShort: to tell what an archive is, its first file is not read to its end.
func TestALookIsShort(t *testing.T) {
	r := tarball.NewCounter(imagetest.BigFirst(t), func(int64) {})
	if looksLikeImage(r) || r.Bytes() > 4<<20 {
		t.Errorf("read %d bytes", r.Bytes())
	}
}

// TestAFifoIsNoArchive: opening one waits for nobody.
func TestAFifoIsNoArchive(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fifo", "index.json", "oci-layout"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, done := open(t), make(chan error, 1)
	go func() {
		_, err := c.Import(context.Background(), api.ImportImage{Path: filepath.Join(dir, "fifo"), Name: "x"}, silent)
		_, _, _ = importing{c.maker, api.ImportImage{Path: dir, Name: "y"}, silent}.importImage(context.Background(), nonblockingRoot{root})
		done <- err
	}()
	select {
	case err := <-done:
		if api.KindOf(err) != api.KindInvalid {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}
