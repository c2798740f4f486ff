package rootfs

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/internal/image/tarball"
)

// unpacked unpacks layers into a directory, in this process: as root, or with
// owners that are the caller's.
func unpacked(t *testing.T, layers ...[]byte) (string, error) {
	t.Helper()
	root := t.TempDir()
	tree, err := newHostTree(root)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Spec{Layered: true, Limits: tarball.DefaultLimits, DiffIDs: make([]string, len(layers))}.unpack(framed(layers...), tree, silent)
	return root, err
}

// listing is every file below a directory, with what is in it.
func listing(t *testing.T, root string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(file string, d os.DirEntry, err error) error {
		if err != nil || file == root {
			return err
		}
		name, _ := filepath.Rel(root, file)
		switch {
		case d.IsDir():
			name += "/"
		case d.Type()&os.ModeSymlink != 0:
			target, _ := os.Readlink(file)
			name += " -> " + target
		case d.Type().IsRegular():
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			name += "=" + string(data)
		}
		lines = append(lines, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, " ")
}

// TestLayersOverlay is the table of what a layer does to those below it.
func TestLayersOverlay(t *testing.T) {
	needRoot(t)
	base := archive(t, dirEntry("d/"), fileEntry("d/a", "1"), fileEntry("d/b", "1"), dirEntry("d/sub/"), fileEntry("d/sub/x", "1"),
		fileEntry("f", "1"), symlinkEntry("l", "d"), linkEntry("h", "f"))
	for _, tt := range []struct {
		name string
		over []tar.Header
		want string
	}{
		{"nothing", nil, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=1 l -> d"},
		{"a file goes", []tar.Header{fileEntry("d/.wh.a", "")}, "d/ d/b=1 d/sub/ d/sub/x=1 f=1 h=1 l -> d"},
		{"a directory goes", []tar.Header{fileEntry(".wh.d", "")}, "f=1 h=1 l -> d"},
		{"a link goes, not what it points to", []tar.Header{fileEntry(".wh.l", "")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=1"},
		{"one name of two goes", []tar.Header{fileEntry(".wh.f", "")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 h=1 l -> d"},
		{"what is not there goes", []tar.Header{fileEntry("no/such/.wh.x", ""), fileEntry(".wh.none", "")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=1 l -> d"},
		{"opaque, then filled", []tar.Header{dirEntry("d/"), fileEntry("d/.wh..wh..opq", ""), fileEntry("d/n", "2")}, "d/ d/n=2 f=1 h=1 l -> d"},
		{"filled, then opaque", []tar.Header{fileEntry("d/n", "2"), fileEntry("d/sub/y", "2"), fileEntry("d/.wh..wh..opq", "")}, "d/ d/n=2 d/sub/ d/sub/y=2 f=1 h=1 l -> d"},
		{"the root is opaque", []tar.Header{fileEntry(".wh..wh..opq", ""), fileEntry("n", "2")}, "n=2"},
		{"replaced, then whited out", []tar.Header{fileEntry("f", "2"), fileEntry(".wh.f", "")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=2 h=1 l -> d"},
		{"a directory made again", []tar.Header{dirEntry("d/"), fileEntry("d/n", "2"), fileEntry(".wh.d", "")}, "d/ d/n=2 f=1 h=1 l -> d"},
		{"a file for a directory", []tar.Header{fileEntry("d", "2")}, "d=2 f=1 h=1 l -> d"},
		{"a link for a directory", []tar.Header{symlinkEntry("d", "/etc")}, "d -> /etc f=1 h=1 l -> d"},
		{"a directory for a file", []tar.Header{dirEntry("f/"), fileEntry("f/n", "2")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f/ f/n=2 h=1 l -> d"},
		{"a directory for a link", []tar.Header{dirEntry("l/"), fileEntry("l/n", "2")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=1 l/ l/n=2"},
		{"a file for a link", []tar.Header{fileEntry("l", "2")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=1 l=2"},
		{"a file is replaced, its other name is not", []tar.Header{fileEntry("h", "2")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=2 l -> d"},
		{"a hard link to below", []tar.Header{linkEntry("d/a", "f")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=1 l -> d"},
		{"Kaniko's names: the root is /, and hard links have whole paths", []tar.Header{dirEntry("/"), linkEntry("n", "/f")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=1 l -> d n=1"},
		{"AUFS's own files", []tar.Header{dirEntry(".wh..wh.plnk/"), fileEntry(".wh..wh.plnk/1.2", "x"), fileEntry(".wh..wh.aufs", "")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=1 h=1 l -> d"},
		{"a directory named twice", []tar.Header{dirEntry("e/"), dirEntry("e/")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 e/ f=1 h=1 l -> d"},
	} {
		root, err := unpacked(t, base, archive(t, tt.over...))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := listing(t, root); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestLayersThroughLinks: what leads through a symbolic link of a layer below is where
// the guest would find it, as it is on distributions whose /lib is one.
func TestLayersThroughLinks(t *testing.T) {
	needRoot(t)
	base := archive(t, dirEntry("usr/lib/"), fileEntry("usr/lib/a", "1"), symlinkEntry("lib", "usr/lib"), symlinkEntry("abs", "/usr/lib"),
		symlinkEntry("up", "../../../usr"), symlinkEntry("new", "usr/new"), fileEntry("usr/f", "1"), symlinkEntry("to", "lib"))
	const links = "abs -> /usr/lib lib -> usr/lib new -> usr/new to -> lib up -> ../../../usr usr/"
	for _, tt := range []struct {
		name string
		over []tar.Header
		want string
	}{
		{"a file", []tar.Header{fileEntry("lib/b", "2"), fileEntry("abs/c", "2"), fileEntry("up/d", "2"), fileEntry("to/e", "2")},
			links + " usr/d=2 usr/f=1 usr/lib/ usr/lib/a=1 usr/lib/b=2 usr/lib/c=2 usr/lib/e=2"},
		{"a directory", []tar.Header{dirEntry("lib/x/"), fileEntry("lib/x/y", "2")}, links + " usr/f=1 usr/lib/ usr/lib/a=1 usr/lib/x/ usr/lib/x/y=2"},
		{"a link that leads to nothing", []tar.Header{fileEntry("new/b", "2")}, links + " usr/f=1 usr/lib/ usr/lib/a=1 usr/new/ usr/new/b=2"},
		{"a file goes", []tar.Header{fileEntry("lib/.wh.a", "")}, links + " usr/f=1 usr/lib/"},
		{"opaque, and filled", []tar.Header{fileEntry("lib/b", "2"), fileEntry("abs/.wh..wh..opq", "")}, links + " usr/f=1 usr/lib/ usr/lib/b=2"},
		{"a hard link", []tar.Header{linkEntry("abs/h", "lib/a")}, links + " usr/f=1 usr/lib/ usr/lib/a=1 usr/lib/h=1"},
		{"a file is in the way", []tar.Header{fileEntry("up/f/x/y", "2")}, links + " usr/f/ usr/f/x/ usr/f/x/y=2 usr/lib/ usr/lib/a=1"},
		{"a link made in the same layer", []tar.Header{symlinkEntry("l2", "usr"), fileEntry("l2/b", "2")},
			"abs -> /usr/lib l2 -> usr lib -> usr/lib new -> usr/new to -> lib up -> ../../../usr usr/ usr/b=2 usr/f=1 usr/lib/ usr/lib/a=1"},
	} {
		root, err := unpacked(t, base, archive(t, tt.over...))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := listing(t, root); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// needRoot: owners, devices and capabilities are set as they are only by root;
// TestLayeredImage of package image does so in a user namespace, whoever runs it.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: unpacking within this process, because this is not root")
	}
}

// TestLayersTimes: a directory's times are those of its newest entry, whatever
// is made or removed in it by whichever layer.
func TestLayersTimes(t *testing.T) {
	needRoot(t)
	when := func(h tar.Header, sec int64) tar.Header {
		h.ModTime, h.Format = time.Unix(sec, 123456789), tar.FormatPAX
		return h
	}
	root, err := unpacked(t,
		archive(t, when(dirEntry("./"), 50), when(dirEntry("d/"), 100), when(fileEntry("d/a", "1"), 101), when(dirEntry("d/sub/"), 102), when(symlinkEntry("d/l", "a"), 103)),
		archive(t, fileEntry("d/.wh.a", ""), when(fileEntry("d/sub/y", "2"), 104), when(fileEntry("implied/z", ""), 105)),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, sec := range map[string]int64{".": 50, "d": 100, "d/sub": 102, "d/l": 103, "d/sub/y": 104, "implied/z": 105} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || !info.ModTime().Equal(time.Unix(sec, 123456789)) {
			t.Errorf("%s: %v, %v, want %d", name, info.ModTime(), err, sec)
		}
	}
	if info, err := os.Lstat(filepath.Join(root, "implied")); err != nil || info.ModTime().Unix() != 0 {
		t.Errorf("a directory that no entry names: %v %v", info.ModTime(), err)
	}
}
