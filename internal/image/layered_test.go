package image

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"banger/api"
)

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
	made, err := c.maker.fromLayers(ctx, []string{"test", "example/test:1"}, img, silent)
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
	first, err := c.maker.fromLayers(ctx, []string{"a"}, imageOf(t, layerOf(t, data, gzipped)), silent)
	if err != nil {
		t.Fatal(err)
	}
	l := layerOf(t, data, zstded)
	l.Open = func(context.Context) (io.ReadCloser, error) {
		t.Error("it was read again")
		return nil, os.ErrInvalid
	}
	second, err := c.maker.fromLayers(ctx, []string{"b"}, imageOf(t, l), silent)
	if err != nil || second.Digest != first.Digest || strings.Join(second.Names, " ") != "a b" {
		t.Errorf("got %+v, %v", second, err)
	}
	if _, err := c.maker.fromLayers(ctx, []string{"Bad Name"}, imageOf(t, l), silent); api.KindOf(err) != api.KindInvalid {
		t.Errorf("a bad name: %v", err)
	}
}
