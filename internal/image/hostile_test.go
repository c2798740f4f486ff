package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/image/oci"
)

// hostile is an image that is refused, with the words that the refusal has.
type hostile struct {
	name   string
	image  func(t testing.TB) oci.Image
	limits func(*limits)
	want   []string
}

// layersOf makes a case of what layers hold.
func layersOf(name string, want string, layers ...[]tar.Header) hostile {
	return hostile{name: name, want: []string{want}, image: func(t testing.TB) oci.Image {
		var all []oci.Layer
		for _, headers := range layers {
			all = append(all, layerOf(t, archive(t, headers...), gzipped))
		}
		return imageOf(t, all...)
	}}
}

// lying makes a case of a good layer of which something else is said.
func lying(name string, lie func(l *oci.Layer, blob []byte), want ...string) hostile {
	return hostile{name: name, want: want, image: func(t testing.TB) oci.Image {
		blob := gzipped(t, archive(t, fileEntry("bin/sh", strings.Repeat("x", 5000))))
		l := layerOf(t, archive(t, fileEntry("bin/sh", strings.Repeat("x", 5000))), gzipped)
		img := imageOf(t, l)
		lie(&l, blob)
		if l.DiffID != img.Layers[0].DiffID {
			return imageOf(t, l)
		}
		img.Layers = []oci.Layer{l}
		return img
	}}
}

func serve(blob []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil }
}

// corpus is every hostile image. OUTSIDE in a name is a file of the host that
// must not come to be.
func corpus(outside string) []hostile {
	dir := filepath.Dir(outside)
	deep := strings.Repeat("a/", 100_000) + "x"
	return []hostile{
		layersOf("a name with ..", `"../../outside" escapes the archive`, []tar.Header{fileEntry("../../outside", "x")}),
		layersOf("a name with .. inside", `"a/../../outside" escapes the archive`, []tar.Header{fileEntry("a/../../outside", "x")}),
		layersOf("a whiteout with ..", `"../.wh.outside" escapes the archive`, []tar.Header{fileEntry("../.wh.outside", "")}),
		layersOf("an absolute name", `layer 2 of 2: cannot unpack the archive: the name "/etc/cron.d/x" is absolute`, []tar.Header{dirEntry("etc/")}, []tar.Header{fileEntry("/etc/cron.d/x", "x")}),
		layersOf("an absolute name of the host's", fmt.Sprintf("the name %q is absolute", "/"+outside), []tar.Header{fileEntry("/"+outside, "x")}),
		layersOf("an absolute name of a directory", `"//d/" is absolute`, []tar.Header{dirEntry("//d/")}),
		layersOf("an absolute whiteout", `"/d/.wh.victim" is absolute`, []tar.Header{fileEntry("/d/.wh.victim", "")}),
		layersOf("the root as an absolute link", `cannot unpack "."`, []tar.Header{symlinkEntry("/", dir)}),
		layersOf("a hard link with ..", `cannot unpack "a": a hard link whose target "../../etc/passwd" escapes the archive`, []tar.Header{linkEntry("a", "../../etc/passwd")}),
		layersOf("a hard link to what is outside", `cannot unpack "a": a hard link to "etc/passwd"`, []tar.Header{linkEntry("a", "/etc/passwd")}),
		layersOf("a newline", "", []tar.Header{fileEntry("a\nb", "x")}),
		layersOf("a terminal's escape", "", []tar.Header{fileEntry("\x1b[2J", "x")}),
		layersOf("a newline in a link", "", []tar.Header{symlinkEntry("a", "b\nc")}),
		layersOf("a newline in a hard link", `a hard link to "b\nc"`, []tar.Header{linkEntry("a", "b\nc")}),
		layersOf("a newline in a whiteout", "", []tar.Header{fileEntry(".wh.a\nb", "")}),
		layersOf("100,000 components", "is too long", []tar.Header{fileEntry(deep, "x")}),
		layersOf("300 components", "is too deep", []tar.Header{fileEntry(deep[:600]+"x", "x")}),
		layersOf("a component that is too long", "is too long", []tar.Header{fileEntry(strings.Repeat("a", 300), "x")}),

		layersOf("a file through a link", "", []tar.Header{symlinkEntry("l", dir), fileEntry("l/outside", "x")}),
		layersOf("a file through a link below", "", []tar.Header{symlinkEntry("l", dir)}, []tar.Header{fileEntry("l/outside", "x")}),
		layersOf("a directory through a link", "", []tar.Header{symlinkEntry("l", dir), dirEntry("l/outside")}),
		layersOf("a link through a link", "", []tar.Header{symlinkEntry("l", dir), symlinkEntry("l/outside", "x")}),
		layersOf("a chain of links", "", []tar.Header{symlinkEntry("a", dir), symlinkEntry("b", "a"), symlinkEntry("c", "b"), fileEntry("c/outside", "x")}),
		layersOf("a link in the middle", "", []tar.Header{dirEntry("d/"), symlinkEntry("d/l", dir), fileEntry("d/l/x/outside", "x")}),
		layersOf("a whiteout through a link", "", []tar.Header{symlinkEntry("l", dir)}, []tar.Header{fileEntry("l/.wh.victim", "")}),
		layersOf("an opaque directory through a link", "", []tar.Header{symlinkEntry("l", dir)}, []tar.Header{fileEntry("l/sub/.wh..wh..opq", "")}),
		layersOf("a hard link to what is behind a link", `cannot unpack "h": a hard link to`, []tar.Header{symlinkEntry("l", dir), linkEntry("h", "l/victim")}),
		layersOf("a hard link behind a link", "", []tar.Header{fileEntry("f", "x"), symlinkEntry("l", dir), linkEntry("l/outside", "f")}),
		layersOf("a file below a file", "", []tar.Header{fileEntry("f", "x")}, []tar.Header{fileEntry("f/x", "x")}),
		layersOf("a hard link to nothing", `cannot unpack "a": a hard link whose target "/" is empty`, []tar.Header{linkEntry("a", "/")}),
		layersOf("a name through a circle", `cannot unpack "a/x": it leads through too many symbolic links`, []tar.Header{symlinkEntry("a", "b"), symlinkEntry("b", "a"), fileEntry("a/x", "x")}),
		layersOf("a name that links make deep", `is too deep after its links are followed`, []tar.Header{symlinkEntry("a", strings.Repeat("d/", 200)), fileEntry("a/"+strings.Repeat("e/", 100)+"x", "x")}),
		layersOf("a file below a file of the same layer", `the layer contains "f" as a file`, []tar.Header{fileEntry("f", "x"), fileEntry("f/x", "x")}),
		layersOf("the rest of a file", "another volume", []tar.Header{{Name: "x", Typeflag: 'M'}}),
		layersOf("a hard link to itself", "a hard link to itself", []tar.Header{linkEntry("a", "./a")}),
		layersOf("a hard link to a directory", `cannot unpack "h"`, []tar.Header{dirEntry("d/"), linkEntry("h", "d")}),
		layersOf("the root as a file", `cannot unpack "."`, []tar.Header{fileEntry(".", "x")}),
		layersOf("the root as a link", `cannot unpack "."`, []tar.Header{symlinkEntry(".", dir)}),

		layersOf("an entry twice", `cannot unpack "a": the layer contains it twice`, []tar.Header{fileEntry("a", "1"), fileEntry("./a", "2")}),
		layersOf("a file and a link of one name", "the layer contains it twice", []tar.Header{fileEntry("a", "1"), symlinkEntry("a", dir)}),
		layersOf("a directory, then a link of its name", "the layer contains it twice", []tar.Header{dirEntry("a/"), symlinkEntry("a", dir), fileEntry("a/outside", "x")}),
		layersOf("a link where a directory is on the way", "the layer contains it twice", []tar.Header{fileEntry("a/b", "1"), symlinkEntry("a", dir)}),
		layersOf("a whiteout of nothing", "is a whiteout without a name", []tar.Header{fileEntry("d/.wh.", "")}),
		layersOf("a whiteout of .", "is a whiteout without a name", []tar.Header{fileEntry("d/.wh..", "")}),
		layersOf("a whiteout of ..", "is a whiteout without a name", []tar.Header{fileEntry("d/.wh...", "")}),
		layersOf("something below a whiteout", "is below a whiteout", []tar.Header{fileEntry(".wh.d/x", "")}),
		layersOf("an unknown kind of entry", "are not supported", []tar.Header{{Name: "x", Typeflag: 'Z'}}),

		{name: "a bomb of gzip", want: []string{"layer 1 of 1", "more than 500 times its size"}, limits: func(l *limits) { l.Free = mib },
			image: func(t testing.TB) oci.Image {
				return imageOf(t, layerOf(t, archive(t, fileEntry("zeros", strings.Repeat("\x00", 8*mib))), gzipped))
			}},
		{name: "a bomb of zstd", want: []string{"more than 500 times its size"}, limits: func(l *limits) { l.Free = mib },
			image: func(t testing.TB) oci.Image {
				return imageOf(t, layerOf(t, archive(t, fileEntry("zeros", strings.Repeat("\x00", 8*mib))), zstded))
			}},
		{name: "a bomb behind the end of the archive", want: []string{"more than 500 times its size"}, limits: func(l *limits) { l.Free = mib },
			image: func(t testing.TB) oci.Image {
				return imageOf(t, layerOf(t, append(archive(t, fileEntry("a", "x")), make([]byte, 8*mib)...), gzipped))
			}},
		{name: "too many bytes", want: []string{"the archive contains more than"}, limits: func(l *limits) { l.Bytes = mib },
			image: func(t testing.TB) oci.Image {
				return imageOf(t, layerOf(t, archive(t, fileEntry("a", strings.Repeat("x", 2*mib))), nil))
			}},
		{name: "too many bytes in all layers", want: []string{"layer 3 of 3", "the archive contains more than"}, limits: func(l *limits) { l.Bytes = mib },
			image: func(t testing.TB) oci.Image {
				l := layerOf(t, archive(t, fileEntry("a", strings.Repeat("x", mib*2/5))), nil)
				return imageOf(t, l, l, l)
			}},
		{name: "too many entries", want: []string{"more than 100 files"}, limits: func(l *limits) { l.Entries = 100 },
			image: func(t testing.TB) oci.Image {
				var all []tar.Header
				for n := range 101 {
					all = append(all, fileEntry(fmt.Sprintf("f%d", n), ""))
				}
				return imageOf(t, layerOf(t, archive(t, all...), nil))
			}},
		{name: "a file that claims a terabyte", want: []string{"the archive contains more than 64 GiB"}, image: func(t testing.TB) oci.Image {
			var b bytes.Buffer
			if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "big", Typeflag: tar.TypeReg, Size: 1 << 40}); err != nil {
				t.Fatal(err)
			}
			return imageOf(t, layerOf(t, b.Bytes(), nil))
		}},

		lying("another digest", func(l *oci.Layer, _ []byte) { l.Digest = oci.Digest(nil) }, "layer 1 of 1", "has different content"),
		lying("other bytes", func(l *oci.Layer, blob []byte) { l.Open = serve(append([]byte("zz"), blob[2:]...)) }, "has different content"),
		lying("too few bytes", func(l *oci.Layer, blob []byte) { l.Open = serve(blob[:len(blob)-20]) }, "is cut off after"),
		lying("no bytes", func(l *oci.Layer, _ []byte) { l.Open = serve(nil) }, "is cut off after 0 of"),
		lying("too many bytes", func(l *oci.Layer, blob []byte) { l.Open = serve(append(bytes.Clone(blob), 0)) }, "has more than its declared"),
		lying("a smaller size", func(l *oci.Layer, _ []byte) { l.Size-- }, "has more than its declared"),
		lying("a larger size", func(l *oci.Layer, _ []byte) { l.Size++ }, "is cut off after"),
		lying("another diff id", func(l *oci.Layer, _ []byte) { l.DiffID = oci.Digest([]byte("x")) }, "not its diff id"),
		lying("no archive", func(l *oci.Layer, _ []byte) {
			data := []byte(strings.Repeat("no tar ", 500))
			l.Digest, l.DiffID, l.Size, l.Open = oci.Digest(data), oci.Digest(data), int64(len(data)), serve(data)
		}, "not a tar archive"),
		lying("a cut archive of the right digest", func(l *oci.Layer, blob []byte) {
			data := blob[:len(blob)-20]
			l.Digest, l.Size, l.Open = oci.Digest(data), int64(len(data)), serve(data)
		}, "layer 1 of 1", "cut off"),
		{name: "a layer that the configuration has not", want: []string{"it has 2 layers, its configuration lists 1"}, image: func(t testing.TB) oci.Image {
			l := layerOf(t, archive(t, fileEntry("a", "x")), nil)
			img := imageOf(t, l)
			img.Layers = append(img.Layers, l)
			return img
		}},
		{name: "another layer than the configuration's", want: []string{"the diff id of layer 1 does not match its configuration"}, image: func(t testing.TB) oci.Image {
			img := imageOf(t, layerOf(t, archive(t, fileEntry("a", "x")), nil))
			img.Layers[0].DiffID = oci.Digest(nil)
			return img
		}},
	}
}

// TestHostileImages: each is refused, with words that name what is wrong, or where want
// is empty does what it says below the image's root; the host's files stay as they are,
// and nothing is left of it.
func TestHostileImages(t *testing.T) {
	c, host := open(t), t.TempDir()
	outside, victim := filepath.Join(host, "outside"), filepath.Join(host, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range corpus(outside) {
		t.Run(h.name, func(t *testing.T) {
			c.limits = defaultLimits
			if h.limits != nil {
				h.limits(&c.limits)
			}
			_, err := c.addLayered(t.Context(), []string{"bad"}, h.image(t), silent)
			if harmless := h.want[0] == ""; harmless != (err == nil) || !harmless && api.KindOf(err) != api.KindInvalid {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				if err := c.Delete("bad", Use{Images: func(string) []string { return nil }}); err != nil {
					t.Fatal(err)
				}
				err = errors.New("") // what follows holds for all
			}
			for _, want := range h.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			if data, err := os.ReadFile(victim); err != nil || string(data) != "mine" {
				t.Errorf("the host's file: %q %v", data, err)
			}
			if all, err := os.ReadDir(host); err != nil || len(all) != 1 {
				t.Errorf("outside: %v %v", all, err)
			}
			checkClean(t, c)
		})
	}
	if images, err := c.List(); err != nil || len(images) > 0 {
		t.Errorf("left: %v %v", images, err)
	}
}

// TestHostileImagesStayInside unpacks the same where the process could reach the
// host's files, without a root directory of its own: no name leads there.
func TestHostileImagesStayInside(t *testing.T) {
	needRoot(t)
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "victim"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range corpus(filepath.Join(host, "outside")) {
		img := h.image(t)
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
			t.Errorf("%s: outside: %v %v", h.name, all, err)
		}
	}
}
