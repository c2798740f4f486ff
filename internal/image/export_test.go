package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/image/oci"
)

// exported is an image in a format, written twice.
func exported(t *testing.T, c *Cache, ref, format string) []byte {
	t.Helper()
	var written [2]bytes.Buffer
	for n := range written {
		e, err := c.Export(t.Context(), ref, format)
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if err := errors.Join(e.Write(t.Context(), &written[n]), e.Close()); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if e.Size() != int64(written[n].Len()) {
			t.Fatalf("%s: %d bytes were announced and %d written", format, e.Size(), written[n].Len())
		}
	}
	if !bytes.Equal(written[0].Bytes(), written[1].Bytes()) {
		t.Fatalf("%s: written twice it is not the same", format)
	}
	return written[0].Bytes()
}

// entries are what an archive holds, a line each, with names as they are meant.
func entries(t *testing.T, data []byte) []string {
	t.Helper()
	var all []string
	archive := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			slices.Sort(all)
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%s %c %04o %d:%d", path.Clean(h.Name), h.Typeflag, h.Mode, h.Uid, h.Gid)
		if h.Typeflag == tar.TypeLink { // it is the other file's
			line = fmt.Sprintf("%s %c", path.Clean(h.Name), h.Typeflag)
		} else {
			line += h.ModTime.UTC().Format(" 2006-01-02T15:04:05.000000000")
		}
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			line += fmt.Sprintf(" %d:%d", h.Devmajor, h.Devminor)
		}
		if h.Typeflag == tar.TypeReg {
			line += fmt.Sprintf(" %d %.6x", len(content), sha256.Sum256(content))
		}
		for key, value := range h.PAXRecords {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				line += fmt.Sprintf(" %s=%q", name, value)
			}
		}
		all = append(all, line)
	}
}

// everything is an archive with one of all that a tar archive can hold.
func everything(t *testing.T) []byte {
	when := time.Unix(1700000000, 123456789)
	with := func(h tar.Header) tar.Header {
		h.ModTime, h.Format = when, tar.FormatPAX
		return h
	}
	long := strings.Repeat("long/", 40) + "name"
	headers := []tar.Header{
		with(tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o751, Uid: 3, Gid: 4}),
		with(tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}),
		with(tar.Header{Name: "bin/ping", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 1, Gid: 2, Linkname: "ping",
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability}}),
		with(tar.Header{Name: "bin/ping6", Typeflag: tar.TypeLink, Linkname: "bin/ping"}),
		with(tar.Header{Name: "bin/sh", Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "ping"}),
		with(tar.Header{Name: "far", Typeflag: tar.TypeSymlink, Mode: 0o777, Uid: 7, Linkname: "/" + long}),
		with(tar.Header{Name: "holes", Typeflag: tar.TypeReg, Mode: 0o600, Linkname: string(make([]byte, 3<<20)) + "end"}),
		with(tar.Header{Name: "lost+found/", Typeflag: tar.TypeDir, Mode: 0o700}),
		with(tar.Header{Name: "lost+found/found", Typeflag: tar.TypeReg, Mode: 0o600, Linkname: "x"}),
		with(tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o622}),
		with(tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777, Gid: 65534}),
		with(tar.Header{Name: "tmp/ä", Typeflag: tar.TypeReg, Mode: 0o644, Linkname: "", PAXRecords: map[string]string{"SCHILY.xattr.user.note": "a\x00b"}}),
	}
	dir := ""
	for part := range strings.SplitSeq(path.Dir(long), "/") {
		dir += part + "/"
		headers = append(headers, with(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}))
	}
	headers = append(headers, with(tar.Header{Name: long, Typeflag: tar.TypeReg, Mode: 0o444, Linkname: "far away"}))
	if os.Getuid() == 0 {
		headers = append(headers, with(tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}),
			with(tar.Header{Name: "block", Typeflag: tar.TypeBlock, Mode: 0o660, Devmajor: 259, Devminor: 70000}))
	}
	return archive(t, headers...)
}

// TestExportIsImport: what was imported comes out again as it was, and that
// imported once more is the same byte for byte.
func TestExportIsImport(t *testing.T) {
	c := open(t)
	data := everything(t)
	if _, err := c.Import(t.Context(), api.ImportImage{Path: save(t, data), Name: "all"}, silent); err != nil {
		t.Fatal(err)
	}
	out := exported(t, c, "all", api.ExportTar)
	if diff := cmp.Diff(seconds(below(entries(t, data))), seconds(below(entries(t, out)))); diff != "" {
		t.Errorf("imported and exported:\n%s", diff)
	}
	if _, err := c.Import(t.Context(), api.ImportImage{Path: save(t, out), Name: "again"}, silent); err != nil {
		t.Fatal(err)
	}
	again := exported(t, c, "again", api.ExportTar)
	if diff := cmp.Diff(below(entries(t, out)), below(entries(t, again))); diff != "" {
		t.Errorf("another archive came out of the same tree:\n%s", diff)
	}
}

// below is what is below the root, which mke2fs makes itself.
func below(lines []string) []string {
	if !strings.HasPrefix(lines[0], ". 5 ") {
		return nil
	}
	return lines[1:]
}

// seconds takes what is below seconds off the times: not every mke2fs keeps that.
func seconds(lines []string) []string {
	for n, line := range lines {
		lines[n] = regexp.MustCompile(`\.\d{9}`).ReplaceAllString(line, "")
	}
	return lines
}

// TestExportOfExt4 is the image's own file.
func TestExportOfExt4(t *testing.T) {
	c := open(t)
	i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, busybox(t)), Name: "b"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	file, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(exported(t, c, "b", api.ExportExt4), want) {
		t.Error("it is another file")
	}
}

// configured is an image of two layers with a configuration and a history.
func configured(t *testing.T) oci.Image {
	t.Helper()
	layers := []oci.Layer{
		layerOf(t, archive(t, dirEntry("bin/"), fileEntry("bin/sh", "sh"), fileEntry("gone", "1")), gzipped),
		layerOf(t, archive(t, fileEntry(".wh.gone", ""), fileEntry("new", "2")), nil),
	}
	raw, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH,
		"config": v1.Config{
			Env: []string{"A=1"}, User: "nobody", WorkingDir: "/srv", Entrypoint: []string{"/bin/sh", "-c"}, Cmd: []string{"id"},
			StopSignal: "SIGQUIT", ExposedPorts: map[string]struct{}{"80/tcp": {}}, Labels: map[string]string{"l": "v", "banger.init": "agent"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layers[0].DiffID, layers[1].DiffID}},
		"history": []map[string]any{{"created": "2024-05-01T00:00:00Z", "created_by": "ADD"}, {"created_by": "ENV A=1", "empty_layer": true, "comment": "c"},
			{"created_by": "RUN"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	i, err := oci.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	i.Layers = layers
	return i
}

// TestExportOfImages: an image that is exported and imported elsewhere has the same
// configuration, files and past.
func TestExportOfImages(t *testing.T) {
	for format, ref := range map[string]string{api.ExportOCI: "registry.example.com/team/app:1.0", api.ExportDocker: "app:latest"} {
		t.Run(format, func(t *testing.T) {
			from, to := open(t), open(t)
			made, err := from.maker.fromLayers(t.Context(), []string{"app", "registry.example.com/team/app:1.0"}, configured(t), silent)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(ref, ":latest")
			data := exported(t, from, name, format)
			got, err := to.Import(t.Context(), api.ImportImage{Path: save(t, data), Name: "copy"}, silent)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(made.Config, got.Config); diff != "" {
				t.Errorf("the configuration:\n%s", diff)
			}
			if got.Reference != ref || len(got.Layers) != 1 {
				t.Errorf("it is %q, of layers %v; want %q", got.Reference, got.Layers, ref)
			}
			before, after := exported(t, from, "app", api.ExportTar), exported(t, to, "copy", api.ExportTar)
			if diff := cmp.Diff(below(entries(t, before)), below(entries(t, after))); diff != "" {
				t.Errorf("it has other files:\n%s", diff)
			}
			checkPast(t, from, to)
			if again := exported(t, to, "copy", format); bytes.Count(again, []byte(`"created_by":"banger image export"`)) != 1 {
				t.Error("the history grows each time")
			}
		})
	}
}

// checkPast compares histories: the copy has one step more, with the one layer.
func checkPast(t *testing.T, from, to *Cache) {
	t.Helper()
	before, err := from.History("app")
	if err != nil {
		t.Fatal(err)
	}
	after, err := to.History("copy")
	if err != nil || len(after) != len(before)+1 || after[0].CreatedBy != "banger image export" || after[0].Layer == "" {
		t.Fatalf("got %+v, %v", after, err)
	}
	for n, h := range before {
		h.Layer, h.SizeBytes = "", 0
		if diff := cmp.Diff(h, after[n+1]); diff != "" {
			t.Errorf("a step:\n%s", diff)
		}
	}
}

// TestExportNames: the name that was asked for goes along, or else the first.
func TestExportNames(t *testing.T) {
	c := open(t)
	i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, archive(t, fileEntry("f", "1"))), Name: "b"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	digest := "registry.example.com/a@sha256:" + strings.Repeat("0", 64)
	l := c.records.Lock()
	_, err = l.Name(strings.TrimPrefix(i.Digest, "sha256:"), "work/app:2", digest)
	l.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"b": "docker.io/library/b:latest", "work/app:2": "docker.io/work/app:2", i.Digest: "docker.io/library/b:latest", digest: digest,
	} {
		files, err := oci.OpenTar(bytes.NewReader(exported(t, c, ref, api.ExportOCI)), bytes.NewReader(exported(t, c, ref, api.ExportOCI)))
		if err != nil {
			t.Fatal(err)
		}
		img, ok, err := oci.Load(files, runtime.GOARCH, "")
		if err != nil || !ok || img.Ref != want {
			t.Errorf("%s: %q, %v, want %q", ref, img.Ref, err, want)
		}
	}
}

// change changes the file system of an image with debugfs.
func change(t *testing.T, c *Cache, i api.Image, script string) {
	t.Helper()
	file := c.records.Path(strings.TrimPrefix(i.Digest, "sha256:"), rootfsFile)
	program, err := execx.LookPath("debugfs", "e2fsprogs")
	if err != nil {
		t.Fatal(err)
	}
	commands := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(commands, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := execx.Run(t.Context(), execx.Cmd{Name: program, Args: []string{"-w", "-f", commands, file}, Package: "e2fsprogs"}); err != nil {
		t.Fatal(err)
	}
}

// TestExportRefuses: what cannot be exported is refused before a byte is written,
// and named.
func TestExportRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		script, format string
		kind           api.Kind
		want           string
		hint           string
	}{
		"extents":      {"sif d/f block[0] 0x0055f30a", api.ExportTar, api.KindInvalid, `cannot read "d/f": the file system is damaged: a node of a tree`, ""},
		"blocks":       {"sif d/f block[5] 0xffffff", api.ExportTar, api.KindInvalid, `"d/f": the file system is damaged: it points to block`, ""},
		"size":         {"sif d/f size 0x7fffffffffff", api.ExportTar, api.KindInvalid, `"d/f": the file system is damaged: inode`, ""},
		"large":        {"sif d/f size 0x7fffffffff", api.ExportOCI, api.KindInvalid, `"d/f": with it the files contain more than 64 GiB`, "--format ext4"},
		"loop":         {"ln d d/loop", api.ExportTar, api.KindInvalid, `"d/loop": the file system is damaged: the directory occurs twice`, ""},
		"type":         {"sif d/f mode 0", api.ExportDocker, api.KindInvalid, `"d/f": the file system is damaged: its type is unknown`, ""},
		"not in use":   {"sif d/f links_count 0", api.ExportTar, api.KindInvalid, `"d/f": the file system is damaged: inode`, ""},
		"journal":      {"feature needs_recovery", api.ExportTar, api.KindUnsupported, "its journal has to be replayed", "e2fsck"},
		"encrypted":    {"feature encrypt", api.ExportTar, api.KindUnsupported, "unsupported features: encrypt", ""},
		"whiteout":     {"ln d/f d/.wh.f\nsif d/f links_count 2", api.ExportOCI, api.KindUnsupported, `"d/.wh.f": in a layer such a name`, "--format tar"},
		"no attribute": {"ea_set d/f user.a=b 1", api.ExportTar, api.KindUnsupported, `"d/f": its attribute "user.a=b" cannot be stored`, "--format ext4"},
		"other format": {"", "zip", api.KindInvalid, `"zip" is not a valid format of an image: use oci, docker, tar or ext4`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, archive(t, dirEntry("d/"), fileEntry("d/f", "content"))), Name: "bad"}, silent)
			if err != nil {
				t.Fatal(err)
			}
			change(t, c, i, tt.script+"\n")
			_, err = c.Export(t.Context(), "bad", tt.format)
			if err == nil || api.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) || !strings.Contains(api.AsError(err).Hint, tt.hint) {
				t.Errorf("got %v (%+v), want %s", err, api.AsError(err), tt.want)
			}
		})
	}
}

// TestExportOfNothing: images that are not there, or not whole, and a reader that
// gives up.
func TestExportOfNothing(t *testing.T) {
	c := open(t)
	if _, err := c.Export(t.Context(), "none", api.ExportOCI); api.KindOf(err) != api.KindNotFound {
		t.Errorf("no image: %v", err)
	}
	i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, busybox(t)), Name: "b"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Export(ended, "b", api.ExportTar); api.KindOf(err) != api.KindCanceled {
		t.Errorf("cancelled: %v", err)
	}
	e, err := c.Export(t.Context(), "b", api.ExportExt4)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write(ended, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while it is written: %v", err)
	}
	// One that is deleted meanwhile is written to its end.
	file := c.records.Path(strings.TrimPrefix(i.Digest, "sha256:"), rootfsFile)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Write(t.Context(), io.Discard), e.Close()); err != nil {
		t.Error(err)
	}
	for _, format := range []string{api.ExportOCI, api.ExportDocker, api.ExportTar, api.ExportExt4} {
		_, err := c.Export(t.Context(), "b", format)
		if api.KindOf(err) != api.KindNotFound || !strings.Contains(err.Error(), "its file is missing") || !strings.Contains(api.AsError(err).Hint, "banger image delete b") {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// TestExportOfTheRoot: the root has an entry, with what a guest has made of it; and
// nanoseconds are kept.
func TestExportOfTheRoot(t *testing.T) {
	c := open(t)
	i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, archive(t, fileEntry("f", ""))), Name: "b"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	change(t, c, i, "sif / mode 040751\nsif / uid 3\nsif / mtime 19700101000005\nsif / mtime_extra 20\nea_set / user.note x\nsif f mtime 0\nsif f mtime_extra 0x1d6f3454\n")
	want := []string{
		`. 5 0751 3:0 1970-01-01T00:00:05.000000005 user.note="x"`, "f 0 0644 0:0 1970-01-01T00:00:00.123456789 0 e3b0c44298fc",
	}
	if diff := cmp.Diff(want, entries(t, exported(t, c, "b", api.ExportTar))); diff != "" {
		t.Error(diff)
	}
}

// TestExportLeavesOut tells of sockets.
func TestExportLeavesOut(t *testing.T) {
	c := open(t)
	i, err := c.Import(t.Context(), api.ImportImage{Path: save(t, archive(t, fileEntry("s", ""), fileEntry("f", ""))), Name: "b"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	change(t, c, i, "sif s mode 0140755\n")
	e, err := c.Export(t.Context(), "b", api.ExportTar)
	if err != nil || e.LeftOut() != 1 {
		t.Fatalf("got %+v, %v", e, err)
	}
	defer e.Close()
	var b bytes.Buffer
	if err := e.Write(t.Context(), &b); err != nil {
		t.Error(err)
	}
	if got := len(entries(t, b.Bytes())); got != 2 {
		t.Errorf("%d entries: %q", got, entries(t, b.Bytes()))
	}
}
