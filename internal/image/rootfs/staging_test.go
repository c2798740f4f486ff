package rootfs

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"banger/internal/image/imagetest"
	"banger/internal/image/tarball"
)

// TestEmptyStaging removes the half-made tree of a daemon that was killed.
func TestEmptyStaging(t *testing.T) {
	staging, ctx := t.TempDir(), context.Background()
	root := filepath.Join(staging, "image-1", "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(ctx, root, Spec{Limits: tarball.DefaultLimits}, blobs(imagetest.Busybox(t)), silent); err != nil {
		t.Fatal(err)
	}
	if err := EmptyStaging(ctx, staging); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(staging); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if err := EmptyStaging(ctx, filepath.Join(staging, "no-such")); err != nil {
		t.Error(err)
	}
}
