package imagetest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/internal/image/oci"
	"banger/internal/image/tarball"
)

const mib = 1 << 20

// Hostile is an image that is refused, with the words that the refusal has.
type Hostile struct {
	Name   string
	Image  func(t testing.TB) oci.Image
	Limits func(*tarball.Limits) // changes the limits, unless it is nil
	// Want are the words. If the first is "", the image is harmless, and not refused.
	Want []string
}

// layersOf makes a case of what layers hold.
func layersOf(name string, want string, layers ...[]tar.Header) Hostile {
	return Hostile{Name: name, Want: []string{want}, Image: func(t testing.TB) oci.Image {
		var all []oci.Layer
		for _, headers := range layers {
			all = append(all, Layer(t, Archive(t, headers...), Gzip))
		}
		return Image(t, all...)
	}}
}

// lying makes a case of a good layer of which something else is said.
func lying(name string, lie func(l *oci.Layer, blob []byte), want ...string) Hostile {
	return Hostile{Name: name, Want: want, Image: func(t testing.TB) oci.Image {
		blob := Gzip(t, Archive(t, File("bin/sh", strings.Repeat("x", 5000))))
		l := Layer(t, Archive(t, File("bin/sh", strings.Repeat("x", 5000))), Gzip)
		img := Image(t, l)
		lie(&l, blob)
		if l.DiffID != img.Layers[0].DiffID {
			return Image(t, l)
		}
		img.Layers = []oci.Layer{l}
		return img
	}}
}

func serve(blob []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil }
}

// Corpus returns every hostile image. outside is a file of the host that they try to
// make, and that must not come to be.
func Corpus(outside string) []Hostile {
	dir := filepath.Dir(outside)
	return slices.Concat(hostileNames(outside, dir), hostileLinks(dir), hostileEntries(dir), tooLarge(), lies())
}

// hostileNames are entries with names that lead out of the image, or are too long.
func hostileNames(outside, dir string) []Hostile {
	deep := strings.Repeat("a/", 100_000) + "x"
	return []Hostile{
		layersOf("a name with ..", `"../../outside" escapes the archive`, []tar.Header{File("../../outside", "x")}),
		layersOf("a name with .. inside", `"a/../../outside" escapes the archive`, []tar.Header{File("a/../../outside", "x")}),
		layersOf("a whiteout with ..", `"../.wh.outside" escapes the archive`, []tar.Header{File("../.wh.outside", "")}),
		layersOf("an absolute name", `layer 2 of 2: cannot unpack the archive: the name "/etc/cron.d/x" is absolute`, []tar.Header{Dir("etc/")}, []tar.Header{File("/etc/cron.d/x", "x")}),
		layersOf("an absolute name of the host's", fmt.Sprintf("the name %q is absolute", "/"+outside), []tar.Header{File("/"+outside, "x")}),
		layersOf("an absolute name of a directory", `"//d/" is absolute`, []tar.Header{Dir("//d/")}),
		layersOf("an absolute whiteout", `"/d/.wh.victim" is absolute`, []tar.Header{File("/d/.wh.victim", "")}),
		layersOf("the root as an absolute link", `cannot unpack "."`, []tar.Header{Symlink("/", dir)}),
		layersOf("a hard link with ..", `cannot unpack "a": a hard link whose target "../../etc/passwd" escapes the archive`, []tar.Header{Link("a", "../../etc/passwd")}),
		layersOf("a hard link to what is outside", `cannot unpack "a": a hard link to "etc/passwd"`, []tar.Header{Link("a", "/etc/passwd")}),
		layersOf("a newline", "", []tar.Header{File("a\nb", "x")}),
		layersOf("a terminal's escape", "", []tar.Header{File("\x1b[2J", "x")}),
		layersOf("a newline in a link", "", []tar.Header{Symlink("a", "b\nc")}),
		layersOf("a newline in a hard link", `a hard link to "b\nc"`, []tar.Header{Link("a", "b\nc")}),
		layersOf("a newline in a whiteout", "", []tar.Header{File(".wh.a\nb", "")}),
		layersOf("100,000 components", "is too long", []tar.Header{File(deep, "x")}),
		layersOf("300 components", "is too deep", []tar.Header{File(deep[:600]+"x", "x")}),
		layersOf("a component that is too long", "is too long", []tar.Header{File(strings.Repeat("a", 300), "x")}),
	}
}

// hostileLinks are entries that links lead out of the image, or nowhere. dir is outside.
func hostileLinks(dir string) []Hostile {
	return []Hostile{
		layersOf("a file through a link", "", []tar.Header{Symlink("l", dir), File("l/outside", "x")}),
		layersOf("a file through a link below", "", []tar.Header{Symlink("l", dir)}, []tar.Header{File("l/outside", "x")}),
		layersOf("a directory through a link", "", []tar.Header{Symlink("l", dir), Dir("l/outside")}),
		layersOf("a link through a link", "", []tar.Header{Symlink("l", dir), Symlink("l/outside", "x")}),
		layersOf("a chain of links", "", []tar.Header{Symlink("a", dir), Symlink("b", "a"), Symlink("c", "b"), File("c/outside", "x")}),
		layersOf("a link in the middle", "", []tar.Header{Dir("d/"), Symlink("d/l", dir), File("d/l/x/outside", "x")}),
		layersOf("a whiteout through a link", "", []tar.Header{Symlink("l", dir)}, []tar.Header{File("l/.wh.victim", "")}),
		layersOf("an opaque directory through a link", "", []tar.Header{Symlink("l", dir)}, []tar.Header{File("l/sub/.wh..wh..opq", "")}),
		layersOf("a hard link to what is behind a link", `cannot unpack "h": a hard link to`, []tar.Header{Symlink("l", dir), Link("h", "l/victim")}),
		layersOf("a hard link behind a link", "", []tar.Header{File("f", "x"), Symlink("l", dir), Link("l/outside", "f")}),
		layersOf("a file below a file", "", []tar.Header{File("f", "x")}, []tar.Header{File("f/x", "x")}),
		layersOf("a hard link to nothing", `cannot unpack "a": a hard link whose target "/" is empty`, []tar.Header{Link("a", "/")}),
		layersOf("a name through a circle", `cannot unpack "a/x": it leads through too many symbolic links`, []tar.Header{Symlink("a", "b"), Symlink("b", "a"), File("a/x", "x")}),
		layersOf("a name that links make deep", `is too deep after its links are followed`, []tar.Header{Symlink("a", strings.Repeat("d/", 200)), File("a/"+strings.Repeat("e/", 100)+"x", "x")}),
		layersOf("a file below a file of the same layer", `the layer contains "f" as a file`, []tar.Header{File("f", "x"), File("f/x", "x")}),
		layersOf("the rest of a file", "another volume", []tar.Header{{Name: "x", Typeflag: 'M'}}),
		layersOf("a hard link to itself", "a hard link to itself", []tar.Header{Link("a", "./a")}),
		layersOf("a hard link to a directory", `cannot unpack "h"`, []tar.Header{Dir("d/"), Link("h", "d")}),
		layersOf("the root as a file", `cannot unpack "."`, []tar.Header{File(".", "x")}),
		layersOf("the root as a link", `cannot unpack "."`, []tar.Header{Symlink(".", dir)}),
	}
}

// hostileEntries are entries that contradict each other, or mean nothing.
func hostileEntries(dir string) []Hostile {
	return []Hostile{
		layersOf("an entry twice", `cannot unpack "a": the layer contains it twice`, []tar.Header{File("a", "1"), File("./a", "2")}),
		layersOf("a file and a link of one name", "the layer contains it twice", []tar.Header{File("a", "1"), Symlink("a", dir)}),
		layersOf("a directory, then a link of its name", "the layer contains it twice", []tar.Header{Dir("a/"), Symlink("a", dir), File("a/outside", "x")}),
		layersOf("a link where a directory is on the way", "the layer contains it twice", []tar.Header{File("a/b", "1"), Symlink("a", dir)}),
		layersOf("a whiteout of nothing", "is a whiteout without a name", []tar.Header{File("d/.wh.", "")}),
		layersOf("a whiteout of .", "is a whiteout without a name", []tar.Header{File("d/.wh..", "")}),
		layersOf("a whiteout of ..", "is a whiteout without a name", []tar.Header{File("d/.wh...", "")}),
		layersOf("something below a whiteout", "is below a whiteout", []tar.Header{File(".wh.d/x", "")}),
		layersOf("an unknown kind of entry", "are not supported", []tar.Header{{Name: "x", Typeflag: 'Z'}}),
	}
}

// tooLarge are images that would fill the disk.
func tooLarge() []Hostile {
	return []Hostile{
		{Name: "a bomb of gzip", Want: []string{"layer 1 of 1", "more than 500 times its size"}, Limits: func(l *tarball.Limits) { l.Free = mib },
			Image: func(t testing.TB) oci.Image {
				return Image(t, Layer(t, Archive(t, File("zeros", strings.Repeat("\x00", 8*mib))), Gzip))
			}},
		{Name: "a bomb of zstd", Want: []string{"more than 500 times its size"}, Limits: func(l *tarball.Limits) { l.Free = mib },
			Image: func(t testing.TB) oci.Image {
				return Image(t, Layer(t, Archive(t, File("zeros", strings.Repeat("\x00", 8*mib))), Zstd))
			}},
		{Name: "a bomb behind the end of the archive", Want: []string{"more than 500 times its size"}, Limits: func(l *tarball.Limits) { l.Free = mib },
			Image: func(t testing.TB) oci.Image {
				return Image(t, Layer(t, append(Archive(t, File("a", "x")), make([]byte, 8*mib)...), Gzip))
			}},
		{Name: "too many bytes", Want: []string{"the archive contains more than"}, Limits: func(l *tarball.Limits) { l.Bytes = mib },
			Image: func(t testing.TB) oci.Image {
				return Image(t, Layer(t, Archive(t, File("a", strings.Repeat("x", 2*mib))), nil))
			}},
		{Name: "too many bytes in all layers", Want: []string{"layer 3 of 3", "the archive contains more than"}, Limits: func(l *tarball.Limits) { l.Bytes = mib },
			Image: func(t testing.TB) oci.Image {
				l := Layer(t, Archive(t, File("a", strings.Repeat("x", mib*2/5))), nil)
				return Image(t, l, l, l)
			}},
		{Name: "too many entries", Want: []string{"more than 100 files"}, Limits: func(l *tarball.Limits) { l.Entries = 100 },
			Image: func(t testing.TB) oci.Image {
				var all []tar.Header
				for n := range 101 {
					all = append(all, File(fmt.Sprintf("f%d", n), ""))
				}
				return Image(t, Layer(t, Archive(t, all...), nil))
			}},
		{Name: "a file that claims a terabyte", Want: []string{"the archive contains more than 64 GiB"}, Image: func(t testing.TB) oci.Image {
			var b bytes.Buffer
			if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "big", Typeflag: tar.TypeReg, Size: 1 << 40}); err != nil {
				t.Fatal(err)
			}
			return Image(t, Layer(t, b.Bytes(), nil))
		}},
	}
}

// lies are images whose layers are not what is said of them.
func lies() []Hostile {
	return []Hostile{
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
		{Name: "a layer that the configuration has not", Want: []string{"it has 2 layers, its configuration lists 1"}, Image: func(t testing.TB) oci.Image {
			l := Layer(t, Archive(t, File("a", "x")), nil)
			img := Image(t, l)
			img.Layers = append(img.Layers, l)
			return img
		}},
		{Name: "another layer than the configuration's", Want: []string{"the diff id of layer 1 does not match its configuration"}, Image: func(t testing.TB) oci.Image {
			img := Image(t, Layer(t, Archive(t, File("a", "x")), nil))
			img.Layers[0].DiffID = oci.Digest(nil)
			return img
		}},
	}
}
