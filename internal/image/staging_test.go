package image

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestEmptyStaging removes the half-made tree of a daemon that was killed.
func TestEmptyStaging(t *testing.T) {
	c, ctx := open(t), context.Background()
	root := filepath.Join(c.staging, "image-1", "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := unpackInto(ctx, root, unpackSpec{Limits: defaultLimits}, blobs(busybox(t)), silent); err != nil {
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
