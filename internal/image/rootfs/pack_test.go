package rootfs

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDataBytes: holes need no room.
func TestDataBytes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{1 << 20, 8 << 20} {
		if _, err := f.WriteAt(make([]byte, 4096), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	c, err := measure(filepath.Dir(file))
	if err != nil || c.blocks < 2 || c.blocks > 64 {
		t.Errorf("%+v, %v", c, err)
	}
}
