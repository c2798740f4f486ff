package reflink_test

import (
	"os"
	"testing"

	"banger/internal/disk/disktest"
	"banger/internal/disk/reflink"
)

// TestContract needs a directory with reflinks: the temporary one, or that in
// BANGER_TEST_REFLINK_DIR.
func TestContract(t *testing.T) {
	dir := t.TempDir()
	if parent := os.Getenv("BANGER_TEST_REFLINK_DIR"); parent != "" {
		var err error
		if dir, err = os.MkdirTemp(parent, "reflink-*"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	if err := reflink.New().Probe(t.Context(), dir, dir); err != nil {
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("Probe left %v", left)
		}
		t.Logf("NOT RUN: reflinks in %s: %v (set BANGER_TEST_REFLINK_DIR to a directory on XFS or Btrfs)", dir, err)
		return
	}
	disktest.Run(t, reflink.New(), dir, func(t *testing.T, path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	})
}
