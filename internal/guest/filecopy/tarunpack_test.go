package filecopy

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func stream(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = 1
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			w.Write([]byte("x"))
		}
	}
	w.Close()
	return b.Bytes()
}

func attacks(t testing.TB) [][]byte {
	link := func(target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: target}
	}
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	return [][]byte{
		stream(t, file("../x")),
		stream(t, file("a/../../x")),
		stream(t, link(".."), file("l/x")),
		stream(t, link("../x"), tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "l/../../x"}),
		stream(t, link(".."), tar.Header{Typeflag: tar.TypeDir, Name: "l/x", Mode: 0o777}),
		stream(t, tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "../secret"}),
	}
}

func TestNothingLeavesTheDirectory(t *testing.T) {
	for i, b := range attacks(t) {
		outer := t.TempDir()
		inner := filepath.Join(outer, "inner")
		os.Mkdir(inner, 0o755)
		os.WriteFile(filepath.Join(outer, "secret"), nil, 0o600)
		if err := UnpackTar(t.Context(), bytes.NewReader(b), inner, Options{Archive: true, FollowLinks: true}); err == nil {
			t.Errorf("attack %d was taken", i)
		}
		if entries, _ := os.ReadDir(outer); len(entries) != 2 {
			t.Errorf("attack %d left %v", i, entries)
		}
	}
}

func TestFileIsReplacedNotWrittenThroughALink(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "target"), []byte("old"), 0o600)
	os.Symlink("target", filepath.Join(dir, "l"))
	if err := UnpackTar(t.Context(), bytes.NewReader(stream(t, tar.Header{Typeflag: tar.TypeReg, Name: "l", Mode: 0o600, Uid: os.Getuid(), Gid: os.Getgid()})), dir, Options{Archive: true}); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "target")); string(b) != "old" {
		t.Errorf("written through the link: %q", b)
	}
}

func FuzzUnpackTar(f *testing.F) {
	for _, b := range attacks(f) {
		f.Add(b)
	}
	// The go command shows no progress while it minimizes a find, which takes it a
	// minute by default: fuzz with -fuzzminimizetime=5x.
	outer := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		inner := filepath.Join(outer, "inner")
		if err := os.Mkdir(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = UnpackTar(t.Context(), bytes.NewReader(b), inner, Options{Archive: true, FollowLinks: true})
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Errorf("something left the directory: %v", entries)
		}
		if err := removeAll(inner); err != nil {
			t.Fatal(err)
		}
	})
}

// removeAll removes directories too whose mode keeps an ordinary user out.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
