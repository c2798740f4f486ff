package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"banger/api"
	"banger/internal/image/oci"
)

// The kinds of entries that tests make archives of.
func dirEntry(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
func fileEntry(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: content, Mode: 0o644}
}
func linkEntry(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
}
func symlinkEntry(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

func zstded(t testing.TB, data []byte) []byte {
	return compressed(t, data, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
}

// layerOf is a layer as a registry has it: what travels is packed(archive).
func layerOf(t testing.TB, archive []byte, packed func(testing.TB, []byte) []byte) oci.Layer {
	blob := archive
	if packed != nil {
		blob = packed(t, archive)
	}
	return oci.Layer{
		Digest: oci.Digest(blob), DiffID: oci.Digest(archive), Size: int64(len(blob)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil },
	}
}

// imageOf is the image of these layers, and a configuration that names them.
func imageOf(t testing.TB, layers ...oci.Layer) oci.Image {
	t.Helper()
	var ids []string
	for _, l := range layers {
		ids = append(ids, l.DiffID)
	}
	raw, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH,
		"config": map[string]any{"Env": []string{"A=1"}, "Cmd": []string{"/bin/sh"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	if err != nil {
		t.Fatal(err)
	}
	i, err := oci.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	i.Layers, i.Ref = layers, "example/test:1"
	return i
}

// unpacked unpacks layers into a directory, in this process: as root, or with
// owners that are the caller's.
func unpacked(t *testing.T, layers ...[]byte) (string, error) {
	t.Helper()
	root := t.TempDir()
	tree, err := newHostTree(root)
	if err != nil {
		t.Fatal(err)
	}
	_, err = unpackSpec{Layered: true, Limits: defaultLimits, DiffIDs: make([]string, len(layers))}.unpack(framed(layers...), tree, silent)
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
		{"made anew, then whited out", []tar.Header{fileEntry("f", "2"), fileEntry(".wh.f", "")}, "d/ d/a=1 d/b=1 d/sub/ d/sub/x=1 f=2 h=1 l -> d"},
		{"a directory made anew", []tar.Header{dirEntry("d/"), fileEntry("d/n", "2"), fileEntry(".wh.d", "")}, "d/ d/n=2 f=1 h=1 l -> d"},
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
// TestLayeredImage does so in a user namespace, whoever runs it.
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

// TestLayeredImage makes an image of layers as a registry has them, and looks
// into its ext4 file.
func TestLayeredImage(t *testing.T) {
	c, ctx := open(t), t.Context()
	tool := tar.Header{Name: "bin/ping", Typeflag: tar.TypeReg, Linkname: "x", Uid: 1, Gid: 2, Mode: 0o4755, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability}}
	marked := tar.Header{Name: "srv/", Typeflag: tar.TypeDir, Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.old": "1"}}
	img := imageOf(t,
		layerOf(t, archive(t, dirEntry("bin/"), tool, marked, fileEntry("srv/gone", "1"), fileEntry("srv/kept", "1")), gzipped),
		layerOf(t, archive(t), nil), // some builders make layers of nothing
		layerOf(t, archive(t, tar.Header{Name: "srv/", Typeflag: tar.TypeDir, Mode: 0o2770, Uid: 1000, Gid: 1001}, fileEntry("srv/.wh.gone", ""),
			linkEntry("bin/ping6", "bin/ping"), fileEntry("srv/new", "2")), zstded),
	)
	made, err := c.addLayered(ctx, []string{"test", "example/test:1"}, img, silent)
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Names) != 2 || made.Reference != "example/test:1" || made.Config == nil || made.Config.Env[0] != "A=1" ||
		len(made.Layers) != 3 || made.Layers[2].DiffID != img.Layers[2].DiffID || made.Layers[1].SizeBytes != 1024 {
		t.Errorf("recorded %+v", made)
	}
	file, err := c.Disk(ctx, made.Digest, made.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	fsck(t, file)
	for request, want := range map[string]string{
		"stat /bin/ping":     "Mode:  04755",
		"stat /bin/ping6":    "Links: 2",
		"ea_list /bin/ping6": "security.capability (20) = 01 00 00 02 00 20 00 00",
		"stat /srv":          "Mode:  02770",
		"cat /srv/new":       "2",
		"cat /srv/kept":      "1",
		"stat /srv/gone":     "File not found",
		"ls /srv":            "kept",
	} {
		if got := debugfs(t, file, request); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", request, got, want)
		}
	}
	if got := debugfs(t, file, "ea_list /srv"); strings.Contains(got, "user.old") {
		t.Errorf("an attribute of a replaced entry has stayed: %s", got)
	}
}

// TestSameLayersOnce: an image that the cache has is only named, whoever asks
// and however the layers travel; nothing of it is read.
func TestSameLayersOnce(t *testing.T) {
	c, ctx := open(t), t.Context()
	data := archive(t, fileEntry("bin/sh", "1"))
	first, err := c.addLayered(ctx, []string{"a"}, imageOf(t, layerOf(t, data, gzipped)), silent)
	if err != nil {
		t.Fatal(err)
	}
	l := layerOf(t, data, zstded)
	l.Open = func(context.Context) (io.ReadCloser, error) {
		t.Error("it was read again")
		return nil, os.ErrInvalid
	}
	second, err := c.addLayered(ctx, []string{"b"}, imageOf(t, l), silent)
	if err != nil || second.Digest != first.Digest || strings.Join(second.Names, " ") != "a b" {
		t.Errorf("got %+v, %v", second, err)
	}
	if _, err := c.addLayered(ctx, []string{"Bad Name"}, imageOf(t, l), silent); api.KindOf(err) != api.KindInvalid {
		t.Errorf("a bad name: %v", err)
	}
}
