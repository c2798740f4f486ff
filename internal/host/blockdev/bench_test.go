package blockdev

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkAttachPlain is one loop device; a snapshot needs two.
func BenchmarkAttachPlain(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("only root can bind loop devices")
	}
	if err := AvailablePlain(); err != nil {
		b.Skip(err)
	}
	f, err := os.Create(filepath.Join(b.TempDir(), "disk"))
	if err == nil {
		err = f.Truncate(1 << 20)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	id := fmt.Sprintf("be4c%08x", os.Getpid())
	for b.Loop() {
		if _, err := AttachPlain(b.Context(), id, f); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := Detach(b.Context(), id); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
