package image

import (
	"archive/tar"
	"bytes"
	"io"
	"path"
	"strings"
	"testing"
	"unicode"
)

// paperTree records nothing and checks that every name is fit to be used.
type paperTree struct{ t *testing.T }

func (p paperTree) check(name string) {
	if name == "" || path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") ||
		strings.ContainsFunc(name, unicode.IsControl) {
		p.t.Errorf("the tree was asked for %q", name)
	}
}

func (p paperTree) mkdir(name string) error { p.check(name); return nil }
func (p paperTree) file(name string, content io.Reader) error {
	p.check(name)
	_, err := io.Copy(io.Discard, content)
	return err
}
func (p paperTree) symlink(_, name string) error   { p.check(name); return nil }
func (p paperTree) link(target, name string) error { p.check(target); p.check(name); return nil }
func (p paperTree) node(name string, _ uint32, _ uint64) (bool, error) {
	p.check(name)
	return true, nil
}
func (p paperTree) attributes(name string, _ *tar.Header, _ *summary) error {
	p.check(name)
	return nil
}
func (p paperTree) exists(string) bool { return false }

func TestLimits(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: "12345"} }
	data := archive(t, file("a"), file("b"), file("c"))
	for _, tt := range []struct {
		limits limits
		want   string
	}{
		{limits{entries: 3, bytes: 15, path: 10}, ""},
		{limits{entries: 2, bytes: 15, path: 10}, "more than 2 files"},
		{limits{entries: 3, bytes: 14, path: 10}, "more than 0 GiB"},
	} {
		_, err := unpack(bytes.NewReader(data), paperTree{t}, tt.limits)
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v", tt.limits, err)
		}
	}
}

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"./bin/sh": "bin/sh", "/etc/x": "etc/x", "//a//b/": "a/b", ".": ".", "./": ".", "/": ".", "a/./b": "a/b",
		"..": "", "a/../b": "", "": "", "a\x7f": "",
	} {
		if got, err := cleanName(name, 100); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	good := archive(f,
		tar.Header{Name: "./", Typeflag: tar.TypeDir},
		tar.Header{Name: "./a/b", Typeflag: tar.TypeReg, Linkname: "hello"},
		tar.Header{Name: "/s", Typeflag: tar.TypeSymlink, Linkname: "../../x"},
		tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "a/b"},
		tar.Header{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
	)
	f.Add(good)
	f.Add(gzipped(f, good))
	f.Add(good[:700])
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := unpack(bytes.NewReader(data), paperTree{t}, limits{entries: 100, bytes: mib, path: 200})
		if err == nil && (s.Entries < 1 || s.Entries > 100 || s.Bytes > mib) {
			t.Errorf("unpacked %+v", s)
		}
	})
}
