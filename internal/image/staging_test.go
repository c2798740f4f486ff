package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"banger/internal/userns"
)

// TestEmptyStaging removes the half-made tree of a daemon that was killed.
func TestEmptyStaging(t *testing.T) {
	c, ctx := open(t), context.Background()
	root := filepath.Join(c.staging, "image-1", "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	call := userns.Call{Job: jobUnpack, Args: []string{root, "0"}, Stdin: bytes.NewReader(busybox(t))}
	if _, err := job(ctx, silent, call); err != nil {
		t.Fatal(err)
	}
	if err := EmptyStaging(ctx, c.staging); err != nil {
		t.Error(err)
	}
	checkClean(t, c)
	if err := EmptyStaging(ctx, filepath.Join(c.staging, "no-such")); err != nil {
		t.Error(err)
	}
}
