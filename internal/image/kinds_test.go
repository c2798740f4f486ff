package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"banger/api"
	"banger/internal/image/oci"
)

// savedAs is an image of one layer in an archive whose first file is of the layer, as
// Bazel's rules and others write them; with more files.
func savedAs(t *testing.T, layer []byte, more ...tar.Header) []byte {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH, "config": map[string]any{"Volumes": map[string]any{"/vol/data": struct{}{}}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{oci.Digest(layer)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return archive(t, append([]tar.Header{
		fileEntry("layer0/layer.tar", string(layer)), fileEntry("config.json", string(config)),
		fileEntry("manifest.json", `[{"Config":"config.json","RepoTags":["app:1"],"Layers":["layer0/layer.tar"]}]`),
	}, more...)...)
}

// TestWhatAnArchiveIs: an image's archive is never taken for a root file system,
// whatever its files are called and wherever the one that tells stands in it.
func TestWhatAnArchiveIs(t *testing.T) {
	c := open(t)
	layer := archive(t, dirEntry("bin/"), fileEntry("bin/sh", "x"))
	for name, data := range map[string][]byte{"plain": savedAs(t, layer), "gzip": gzipped(t, savedAs(t, layer)), "zstd": zstded(t, savedAs(t, layer))} {
		i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, data), Name: "app"}, silent)
		if err != nil || i.Reference != "app:1" || len(i.Layers) != 1 {
			t.Errorf("%s: %+v, %v", name, i, err)
			continue
		}
		base, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)
		if err != nil {
			t.Fatal(err)
		}
		if got := debugfs(t, base, "stat /vol/data"); !strings.Contains(got, "Type: directory") {
			t.Errorf("%s: the volume's directory: %s", name, got)
		}
	}
	old := archive(t, fileEntry(strings.Repeat("ab", 32)+"/layer.tar", string(layer)), fileEntry("repositories", `{"app":{"1":"`+strings.Repeat("ab", 32)+`"}}`))
	for name, data := range map[string][]byte{"plain": old, "gzip": gzipped(t, old)} {
		if _, err := c.Import(t.Context(), api.ImportImage{Path: save(t, data), Name: "old"}, silent); err == nil || !strings.Contains(err.Error(), "Docker before 1.10") {
			t.Errorf("%s: %v", name, err)
		}
	}
	root := archive(t, fileEntry("manifest.json", `{"name":"web app"}`), fileEntry("index.json", `{}`), dirEntry("bin/"), fileEntry("bin/sh", "x"))
	for name, data := range map[string][]byte{"plain": root, "gzip": gzipped(t, root)} {
		i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, data), Name: "root"}, silent)
		if err != nil || len(i.Layers) != 0 {
			t.Errorf("%s: a root file system with files of such names: %+v, %v", name, i, err)
			continue
		}
		base, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)
		if err != nil {
			t.Fatal(err)
		}
		if got := debugfs(t, base, "cat /manifest.json"); !strings.Contains(got, "web app") {
			t.Errorf("%s: its content: %q", name, got)
		}
	}
	if _, err := c.Import(t.Context(), api.ImportImage{Path: save(t, root), Name: "root", Image: "x"}, silent); err == nil || !strings.Contains(err.Error(), "leave") && !strings.Contains(err.Error(), "root file system") {
		t.Errorf("--image of a root file system: %v", err)
	}
}

// TestPackedExt4 imports an ext4 file that is compressed, and what else people have.
func TestPackedExt4(t *testing.T) {
	c := open(t)
	first, err := c.Import(t.Context(), api.ImportImage{Path: save(t, busybox(t)), Name: "tiny"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(c.records.Path(strings.TrimPrefix(first.Digest, "sha256:"), rootfsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete("tiny", unused); err != nil {
		t.Fatal(err)
	}
	again, err := c.Import(t.Context(), api.ImportImage{Path: save(t, gzipped(t, data)), Name: "again"}, silent)
	if err != nil || again.Digest != first.Digest {
		t.Errorf("%s, not %s: %v", again.Digest, first.Digest, err)
	}
	checkClean(t, c)
}

// TestOtherFiles: what is none of what can be imported is called by its name.
func TestOtherFiles(t *testing.T) {
	c := open(t)
	at := func(offset int, magic string) []byte {
		data := make([]byte, 64<<10)
		copy(data[offset:], magic)
		return data
	}
	for want, data := range map[string][]byte{
		"qcow2": at(0, "QFI\xfb"), "vmdk": at(0, "KDMV"), "partitions (MBR)": at(510, "\x55\xaa"), "partitions (GPT)": at(512, "EFI PART"),
		"ISO 9660": at(32769, "CD001"), "zip": at(0, "PK\x03\x04"), "cpio": at(0, "070701"), "7-Zip": at(0, "7z\xbc\xaf\x27\x1c"), "XFS": at(0, "XFSB"),
		"squashfs": at(0, "hsqs"), "lzip": at(0, "LZIP"),
	} {
		for _, file := range [][]byte{data, gzipped(t, data)} {
			_, err := c.Import(t.Context(), api.ImportImage{Path: save(t, file), Name: "other"}, silent)
			if e := api.AsError(err); e == nil || e.Kind != api.KindUnsupported || !strings.Contains(e.Message, want) || e.Hint == "" {
				t.Errorf("%s: %v", want, err)
			}
		}
	}
}

// TestAroundTheArchive: what stands behind an archive, and compressions that ask for too
// much.
func TestAroundTheArchive(t *testing.T) {
	c := open(t)
	good := archive(t, dirEntry("bin/"), fileEntry("bin/sh", "x"))
	window := func() []byte {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithWindowSize(256<<20), zstd.WithSingleSegment(false))
		if err == nil {
			_, err = w.Write(good)
		}
		if err := errors.Join(err, w.Flush(), w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	two := append(gzipped(t, good[:700]), gzipped(t, good[700:])...)
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"zeros":           {append(gzipped(t, good), make([]byte, 5000)...), ""},
		"two members":     {two, ""},
		"garbage":         {append(gzipped(t, good), "garbage"...), "the archive is complete, but is followed by unexpected data"},
		"garbage, zstd":   {append(zstded(t, good), "garbage!"...), "the archive is complete, but is followed by unexpected data"},
		"a large window":  {window(), "window of more than 128 MiB"},
		"damaged":         {append(gzipped(t, good)[:40], bytes.Repeat([]byte{0xff}, 40)...), "compression is damaged"},
		"the end is gone": {gzipped(t, good)[:len(gzipped(t, good))-4], "cut off"},
	} {
		_, err := c.Import(t.Context(), api.ImportImage{Path: save(t, tt.data), Name: "around"}, silent)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if xz, err := exec.LookPath("xz"); err == nil {
		cmd := exec.Command(xz, "--lzma2=dict=128MiB", "-c")
		cmd.Stdin = bytes.NewReader(good)
		data, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Import(t.Context(), api.ImportImage{Path: save(t, data), Name: "around"}, silent); err == nil || !strings.Contains(err.Error(), "dictionary of more than 64 MiB") {
			t.Errorf("xz: %v", err)
		}
	} else {
		t.Log("NOT TESTED: a large dictionary of xz, because this host has no xz")
	}
}

// TestOddNamesComeBack: what is exported can be imported, with all names that files can
// have.
func TestOddNamesComeBack(t *testing.T) {
	from, to := open(t), open(t)
	names := []string{"Icon\r", "new\nline", "\x1b[2J", "\x7f", "tab\t", "\xff\xfe", "q\"uote", "back\\slash", "-n", " "}
	headers := []tar.Header{dirEntry("bin/"), fileEntry("bin/sh", "x")}
	for _, name := range names {
		headers = append(headers, fileEntry("home/"+name, name), symlinkEntry("link/"+name, name), linkEntry("hard/"+name, "home/"+name))
	}
	if _, err := from.Import(t.Context(), api.ImportImage{Path: save(t, archive(t, headers...)), Name: "odd"}, silent); err != nil {
		t.Fatal(err)
	}
	want := below(entries(t, exported(t, from, "odd", api.ExportTar)))
	if len(want) < 3*len(names) {
		t.Fatalf("%d entries: %q", len(want), want)
	}
	for _, format := range []string{api.ExportTar, api.ExportOCI, api.ExportDocker, api.ExportExt4} {
		if _, err := to.Import(t.Context(), api.ImportImage{Path: save(t, exported(t, from, "odd", format)), Name: format}, silent); err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if got := below(entries(t, exported(t, to, format, api.ExportTar))); strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Errorf("%s:\ngot  %q\nwant %q", format, got, want)
		}
	}
}

// TestExportKeepsTheConfiguration: fields that banger has no use for are for others.
func TestExportKeepsTheConfiguration(t *testing.T) {
	c := open(t)
	layer := layerOf(t, archive(t, fileEntry("bin/sh", "x")), nil)
	raw := []byte(`{"os":"linux","architecture":"` + runtime.GOARCH + `","author":"me","created":"2024-05-01T00:00:00Z","x-own":{"a":[1,2]},` +
		`"config":{"Hostname":"h","Volumes":{"/v":{}},"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000},"Shell":["/bin/bash","-c"],"OnBuild":["RUN x"]},` +
		`"rootfs":{"type":"layers","diff_ids":["` + layer.DiffID + `"]}}`)
	img, err := oci.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	img.Layers = []oci.Layer{layer}
	if _, err := c.maker.fromLayers(t.Context(), []string{"app"}, img, silent); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{api.ExportOCI, api.ExportDocker} {
		data := exported(t, c, "app", format)
		archive := tar.NewReader(bytes.NewReader(data))
		found := false
		for {
			_, err := archive.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			var got, before map[string]json.RawMessage
			if json.Unmarshal(text, &got) != nil || got["rootfs"] == nil {
				continue
			}
			found = true
			if err := json.Unmarshal(raw, &before); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"author", "created", "x-own", "config"} {
				if string(got[key]) != string(before[key]) {
					t.Errorf("%s: %s is %s, not %s", format, key, got[key], before[key])
				}
			}
		}
		if !found {
			t.Errorf("%s: there is no configuration", format)
		}
	}
}

// TestLostFile: an image whose file somebody has removed is made again.
func TestLostFile(t *testing.T) {
	c := open(t)
	data := save(t, savedAs(t, archive(t, fileEntry("bin/sh", "x"))))
	i, err := c.Import(t.Context(), api.ImportImage{Path: data, Name: "app"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	file := c.records.Path(strings.TrimPrefix(i.Digest, "sha256:"), rootfsFile)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent); api.KindOf(err) != api.KindNotFound || api.AsError(err).Hint == "" || !strings.Contains(err.Error(), filepath.Base(file)) {
		t.Errorf("got %v", err)
	}
	again, err := c.Import(t.Context(), api.ImportImage{Path: data, Name: "app"}, silent)
	if err != nil || again.Digest != i.Digest {
		t.Fatalf("%s: %v", again.Digest, err)
	}
	if base, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent); err != nil {
		t.Error(err)
	} else {
		fsck(t, base)
	}
}

// TestManyFilesInADirectory: they take a time that is proportional to their number, and
// get an index. mke2fs -d alone takes minutes for as many.
func TestManyFilesInADirectory(t *testing.T) {
	const n = 40_000
	c := open(t)
	headers := []tar.Header{dirEntry("d/")}
	for k := range n {
		headers = append(headers, tar.Header{Name: "d/" + strings.Repeat("f", k%20) + strconv.Itoa(k), Typeflag: tar.TypeReg})
	}
	path := save(t, archive(t, headers...))
	began := time.Now()
	step := ""
	i, err := c.Import(t.Context(), api.ImportImage{Path: path, Name: "many"}, func(p api.Progress) {
		if p.Message != step {
			step = p.Message
			t.Logf("%v: %s", time.Since(began).Round(time.Millisecond), step)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files in %v", n, time.Since(began).Round(time.Millisecond))
	base, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	fsck(t, base)
	if got := debugfs(t, base, "stat /d"); !strings.Contains(got, "Flags: 0x81000") {
		t.Errorf("the directory has no index:\n%s", got)
	}
}

// TestLostFoundIsNoFile says what is wrong before a file system is damaged by it.
func TestLostFoundIsNoFile(t *testing.T) {
	c := open(t)
	_, err := c.Import(t.Context(), api.ImportImage{Path: save(t, archive(t, fileEntry("lost+found", "x"))), Name: "lf"}, silent)
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "lost+found") {
		t.Errorf("got %v", err)
	}
	i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, archive(t, dirEntry("lost+found/"), fileEntry("lost+found/#12", "x"))), Name: "lf"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	base, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	fsck(t, base)
	if got := debugfs(t, base, "cat /lost+found/#12"); !strings.Contains(got, "x") {
		t.Errorf("what was in it: %q", got)
	}
}
