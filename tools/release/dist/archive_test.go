package dist

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"banger/internal/update/release"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// programs are stand-ins for those of a release.
func programs() []File {
	var files []File
	for _, name := range release.Programs {
		files = append(files, File{Name: name, Mode: 0o755, Data: []byte("#!/bin/sh\necho '" + name + " v1.2.3'\n")})
	}
	return files
}

func mustArchive(t *testing.T, files []File) []byte {
	t.Helper()
	data, err := Archive(files, at)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestArchiveDependsOnItsFilesAlone(t *testing.T) {
	first := mustArchive(t, programs())
	t.Setenv("TZ", "Asia/Kathmandu")
	if !bytes.Equal(first, mustArchive(t, programs())) {
		t.Error("the same files give other bytes")
	}
	z, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("gzip's header says %q, %v", z.Name, z.ModTime)
	}
	archive := tar.NewReader(z)
	for _, name := range release.Programs {
		h, err := archive.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != name || h.Mode != 0o755 || h.Typeflag != tar.TypeReg || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(at) {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if _, err := archive.Next(); err == nil {
		t.Error("there is something beside the programs")
	}
}

func TestCheckArchive(t *testing.T) {
	if err := checkArchive(mustArchive(t, programs())); err != nil {
		t.Fatal(err)
	}
	change := func(do func([]File) []File) []byte { return mustArchive(t, do(programs())) }
	for name, data := range map[string][]byte{
		"nothing":   nil,
		"cut":       mustArchive(t, programs())[:60],
		"missing":   change(func(f []File) []File { return f[:3] }),
		"extra":     change(func(f []File) []File { return append(f, File{Name: "x", Mode: 0o755}) }),
		"order":     change(func(f []File) []File { f[0], f[1] = f[1], f[0]; return f }),
		"mode":      change(func(f []File) []File { f[0].Mode = 0o4755; return f }),
		"link":      change(func(f []File) []File { f[0] = File{Name: f[0].Name, Mode: 0o755, Link: "bangerd"}; return f }),
		"directory": change(func(f []File) []File { f[0].Name = "../banger"; return f }),
	} {
		if err := checkArchive(data); err == nil {
			t.Errorf("%s: it would be signed", name)
		}
	}
}

// TestReadRefusesAnAlteredRelease: what is signed is what was built.
func TestReadRefusesAnAlteredRelease(t *testing.T) {
	dir := t.TempDir()
	record, err := Record{Version: "v1.2.3", Commit: "0123456789ab", BuiltAt: at, Go: "go1.26"}.encode()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{recordName: record}
	for _, arch := range Platforms {
		files[release.Target("v1.2.3", goos, arch)] = mustArchive(t, programs())
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSums(dir); err != nil {
		t.Fatal(err)
	}
	_, archives, err := Read(dir, "v1.2.3")
	if err != nil || len(archives) != 2 {
		t.Fatal(len(archives), err)
	}
	for name, a := range archives {
		if err := a.Info.Validate(); err != nil || name != release.Target(a.Info.Version, goos, a.Info.Platform[6:]) {
			t.Errorf("%s: %+v: %v", name, a.Info, err)
		}
	}
	if _, _, err := Read(dir, "v1.2.4"); err == nil {
		t.Error("another version was taken")
	}
	name := release.Target("v1.2.3", goos, "arm64")
	if err := os.WriteFile(filepath.Join(dir, name), append(files[name], 0), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(dir, "v1.2.3"); err == nil {
		t.Error("an altered archive was taken")
	}
}
