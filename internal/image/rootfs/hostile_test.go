package rootfs

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestHostileImagesStayInside unpacks the same where the process could reach the
// host's files, without a root directory of its own: no name leads there.
func TestHostileImagesStayInside(t *testing.T) {
	needRoot(t)
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "victim"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range corpus(filepath.Join(host, "outside")) {
		img := h.Image(t)
		var archives [][]byte
		for _, l := range img.Layers {
			r, err := l.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			archives = append(archives, data)
		}
		_, _ = unpacked(t, archives...)
		if all, err := os.ReadDir(host); err != nil || len(all) != 1 || all[0].Name() != "victim" {
			t.Errorf("%s: outside: %v %v", h.Name, all, err)
		}
	}
}
