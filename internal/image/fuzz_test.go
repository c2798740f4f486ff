package image

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzLayers unpacks two layers, of which the second is the fuzzer's, into a
// directory beside a file that must stay as it is and alone.
func FuzzLayers(f *testing.F) {
	base := archive(f, dirEntry("d/"), fileEntry("d/a", "1"), symlinkEntry("up", ".."), symlinkEntry("l", "d"))
	f.Add(archive(f, fileEntry("d/.wh.a", ""), fileEntry("d/.wh..wh..opq", ""), linkEntry("h", "up/victim")))
	f.Add(archive(f, fileEntry("up/outside", "x"), dirEntry("l/"), fileEntry("l/.wh..wh..opq", "")))
	f.Add(gzipped(f, archive(f, symlinkEntry("d", "/"), fileEntry("d/x", "x"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		root, victim := filepath.Join(dir, "root"), filepath.Join(dir, "victim")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		tree, err := newHostTree(root)
		if err != nil {
			t.Fatal(err)
		}
		spec := unpackSpec{Layered: true, Limits: tight(200, mib, 200), DiffIDs: []string{"", ""}}
		_, _ = spec.unpack(framed(base, data), tree, silent)
		if all, err := os.ReadDir(dir); err != nil || len(all) != 2 {
			t.Errorf("outside: %v %v", all, err)
		}
		if got, err := os.ReadFile(victim); err != nil || string(got) != "mine" {
			t.Errorf("the file outside: %q %v", got, err)
		}
	})
}
