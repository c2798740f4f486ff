package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"banger/internal/image/oci"
	"banger/internal/image/tarball"
)

// paperTree records nothing and checks that every name is fit to be used.
type paperTree struct{ t *testing.T }

func (p paperTree) check(name string) {
	if name == "" || path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") ||
		strings.Contains(name, "\x00") {
		p.t.Errorf("the tree was asked for %q", name)
	}
}

func (p paperTree) resolveParent(name string) (string, error) { p.check(name); return name, nil }
func (p paperTree) ensure(name string) error                  { p.check(name); return nil }

func (p paperTree) dir(h *tar.Header) error { p.check(h.Name); return nil }
func (p paperTree) file(h *tar.Header, content io.Reader) error {
	p.check(h.Name)
	_, err := io.Copy(io.Discard, content)
	return err
}
func (p paperTree) symlink(h *tar.Header) error { p.check(h.Name); return nil }
func (p paperTree) link(h *tar.Header) error    { p.check(h.Linkname); p.check(h.Name); return nil }
func (p paperTree) node(h *tar.Header, _ uint32, _ uint64) (bool, error) {
	p.check(h.Name)
	return true, nil
}
func (p paperTree) remove(name string, _ func(string) bool) error { p.check(name); return nil }
func (p paperTree) empty(name string, _ func(string) bool) error  { p.check(name); return nil }
func (p paperTree) exists(string) bool                            { return false }
func (p paperTree) close() error                                  { return nil }

// framed is a stream of blobs as the job gets it.
func framed(archives ...[]byte) *bytes.Reader {
	var b bytes.Buffer
	for _, data := range archives {
		f := frameWriter{&b}
		_, _ = f.Write(data)
		_ = f.end()
	}
	return bytes.NewReader(b.Bytes())
}

// blobs are archives of which nothing is known.
func blobs(archives ...[]byte) []oci.Layer {
	var layers []oci.Layer
	for _, data := range archives {
		layers = append(layers, oci.Layer{Size: int64(len(data)), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		}})
	}
	return layers
}

// tight are limits with bounds of their own for entries and bytes.
func tight(entries int, bytes int64, path int) tarball.Limits {
	l := tarball.DefaultLimits
	l.Entries, l.Bytes, l.Path = entries, bytes, path
	return l
}

func TestLimits(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: "12345"} }
	data := archive(t, file("a"), file("b"), file("c"))
	for _, tt := range []struct {
		limits tarball.Limits
		want   string
	}{
		{tight(3, mib, 10), ""},
		{tight(2, mib, 10), "more than 2 files"},
		{tight(3, 4000, 10), "more than 0 GiB"},
	} {
		_, err := Spec{Limits: tt.limits, DiffIDs: []string{""}}.unpack(framed(data), paperTree{t}, silent)
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v", tt.limits, err)
		}
	}
}

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"./bin/sh": "bin/sh", "a//b/": "a/b", ".": ".", "./": ".", "/": ".", "//": ".", "a/./b": "a/b",
		"/etc/x": "", "//a//b/": "", "/.": "", "/..": "", ".//a": "a", "..": "", "a/../b": "", "": "", "a\x7f\n": "a\x7f\n", "a\x00": "",
	} {
		if got, err := cleanName(name, tight(1, 1, 100)); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	good := archive(f,
		tar.Header{Name: "./", Typeflag: tar.TypeDir},
		tar.Header{Name: "./a/b", Typeflag: tar.TypeReg, Linkname: "hello"},
		tar.Header{Name: "s", Typeflag: tar.TypeSymlink, Linkname: "../../x"},
		tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "a/b"},
		tar.Header{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
	)
	f.Add(good)
	f.Add(gzipped(f, good))
	f.Add(good[:700])
	f.Fuzz(func(t *testing.T, data []byte) {
		spec := Spec{Limits: tight(100, mib, 200), DiffIDs: []string{""}}
		s, err := spec.unpack(framed(data), paperTree{t}, silent)
		if err == nil && (s.Entries < 1 || s.Entries > 100 || s.Bytes > mib) {
			t.Errorf("unpacked %+v", s)
		}
	})
}

// TestUnpackCloses: no descriptor stays open, however unpacking ends.
func TestUnpackCloses(t *testing.T) {
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	good := archive(t, dirEntry("d/"), dirEntry("d/e/"))
	before := descriptors()
	for name, data := range map[string][]byte{
		"well": good, "cut off": good[:700], "with a bad name": archive(t, dirEntry("d/"), dirEntry("d/e/f/"), dirEntry("..")),
	} {
		_, _ = unpacked(t, data)
		if after := descriptors(); after != before {
			t.Errorf("%s: %d descriptors, %d before", name, after, before)
		}
	}
}

// TestGNUTypes: what GNU tar alone writes is taken for what it is.
func TestGNUTypes(t *testing.T) {
	needRoot(t)
	data := archive(t, tar.Header{Name: "label", Typeflag: 'V'}, tar.Header{Name: "d/", Typeflag: 'D', Linkname: "Yf\x00\x00"},
		tar.Header{Name: "d/f", Typeflag: '7', Linkname: "content"})
	root := t.TempDir()
	tree, err := newHostTree(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Spec{Limits: tarball.DefaultLimits, DiffIDs: []string{""}}).unpack(framed(data), tree, silent); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, root); got != "d/ d/f=content" {
		t.Errorf("got %s", got)
	}
}
