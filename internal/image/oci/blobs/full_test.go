package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/host/userns"
)

const jobFullDisk = "test-full-disk"

// TestFullDisk gets a blob while somebody else fills the disk, in a mount namespace
// of its own, where an ordinary user, too, may mount a tmpfs.
func TestFullDisk(t *testing.T) {
	if err := userns.Run(t.Context(), userns.Call{Job: jobFullDisk, Args: []string{t.TempDir()}}); err != nil {
		t.Error(err)
	}
}

func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	dir := args[0]
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		return err
	}
	s := Open(filepath.Join(dir, "blobs"))
	kept, large := data(1<<20), append(data(3<<20), "end"...)
	if err := s.Get(ctx, blobOf(kept), (&server{data: kept}).open, silent); err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	filling := func(context.Context, int64) (io.ReadCloser, int64, error) {
		half := len(large) / 2
		return io.NopCloser(io.MultiReader(bytes.NewReader(large[:half]), filler(ballast), bytes.NewReader(large[half:]))), 0, nil
	}
	err := s.Get(ctx, blobOf(large), filling, silent)
	if e := api.AsError(err); e == nil || e.Kind != api.KindNoSpace || !strings.Contains(e.Message, s.dir) || !strings.Contains(e.Hint, "free space there") {
		return fmt.Errorf("got %v, want an error of kind no_space that names %s and says what helps", err, s.dir)
	}
	// The room is needed more than what has come of it; the others stay.
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 1 || "sha256:"+entries[0].Name() != blobOf(kept).Digest {
		return fmt.Errorf("left: %v %v", entries, err)
	}
	unasked := &server{data: kept}
	if err := s.Get(ctx, blobOf(kept), unasked.open, silent); err != nil || len(unasked.asked) > 0 {
		return fmt.Errorf("what was there before came again: %v", err)
	}
	again := &server{data: large}
	if err := s.Get(ctx, blobOf(large), again.open, silent); api.KindOf(err) != api.KindNoSpace {
		return fmt.Errorf("on a disk that is still full: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := s.Get(ctx, blobOf(large), again.open, silent); err != nil {
		return fmt.Errorf("when there is room: %w", err)
	}
	got, err := os.ReadFile(s.path(blobOf(large).Digest))
	if err != nil || !bytes.Equal(got, large) {
		return fmt.Errorf("it is another: %v", err)
	}
	return nil
}

// filler is a reader of nothing, which fills the disk by a file of that name.
type filler string

// Read implements io.Reader.
func (f filler) Read([]byte) (int, error) {
	file, err := os.Create(string(f))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return 0, err
	}
	return 0, io.EOF
}
