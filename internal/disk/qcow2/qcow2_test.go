package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/disk/disktest"
	"banger/internal/disk/qcow2"
	"banger/internal/host/execx"
)

func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	if err := execx.Run(t.Context(), execx.Cmd{Name: "qemu-img", Args: args, Package: "qemu-utils"}); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	disktest.Run(t, qcow2.New(), t.TempDir(), func(t *testing.T, path string) []byte {
		qemuImg(t, "check", path)
		raw := filepath.Join(t.TempDir(), "raw")
		qemuImg(t, "convert", "-O", "raw", path, raw)
		data, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}, func(t *testing.T, path string, p []byte, at int64) {
		file := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(file, p, 0o600); err != nil {
			t.Fatal(err)
		}
		write := fmt.Sprintf("write -s %s %d %d", file, at, len(p))
		if err := execx.Run(t.Context(), execx.Cmd{Name: "qemu-io", Args: []string{"-f", "qcow2", "-c", write, path}, Package: "qemu-utils"}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSizes(t *testing.T) {
	for _, size := range []int64{512, 1 << 20, 512<<20 + 512, 8 << 30, 15 << 40} {
		dir := t.TempDir()
		spec := disk.Spec{Base: filepath.Join(dir, "base, odd"), Path: filepath.Join(dir, "disk")}
		if err := os.WriteFile(spec.Base, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(spec.Base, size); err != nil {
			t.Logf("this file system holds no file of %d bytes: not tested: %v", size, err)
			continue
		}
		if err := qcow2.New().Create(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		qemuImg(t, "check", spec.Path)
	}
}

// TestGrowsWithinItsTable: an overlay that was made for 8 GiB can have 4 TiB, and says so if
// more is asked of it, which changes nothing.
func TestGrowsWithinItsTable(t *testing.T) {
	dir := t.TempDir()
	spec := disk.Spec{Base: filepath.Join(dir, "base"), Path: filepath.Join(dir, "disk")}
	if err := os.WriteFile(spec.Base, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(spec.Base, 8<<30); err != nil {
		t.Fatal(err)
	}
	if err := qcow2.New().Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if _, err := qcow2.New().Grow(t.Context(), spec, 4<<40); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "check", spec.Path)
	before, err := os.ReadFile(spec.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := qcow2.New().Grow(t.Context(), spec, 4<<40+1<<20); api.KindOf(err) != api.KindUnsupported || api.AsError(err).Hint == "" || !strings.Contains(err.Error(), "4 TiB at most") {
		t.Errorf("beyond its table: %v", err)
	}
	if after, err := os.ReadFile(spec.Path); err != nil || string(after) != string(before) {
		t.Errorf("a refusal changed it, %v", err)
	}
	if err := os.WriteFile(spec.Path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := qcow2.New().Grow(t.Context(), spec, 9<<30); err == nil {
		t.Error("a file that is no overlay was grown")
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "disk")
	if err := qcow2.New().Create(t.Context(), disk.Spec{Base: empty, Path: path}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("an empty base: %v", err)
	}
	if err := qcow2.New().Probe(t.Context(), dir, "/"+strings.Repeat("x/", 600)); err == nil {
		t.Errorf("a base path that is too long was accepted")
	}
}

// TestGrowsAfterQEMU: QEMU moves the L1 table when it grows a disk. What is behind the entries of its
// table is not part of the disk, whatever was in that cluster before.
func TestGrowsAfterQEMU(t *testing.T) {
	dir := t.TempDir()
	spec := disk.Spec{Base: filepath.Join(dir, "base"), Path: filepath.Join(dir, "disk")}
	if err := os.WriteFile(spec.Base, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(spec.Base, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := qcow2.New().Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "resize", "-q", spec.Path, "3G")
	f, err := os.OpenFile(spec.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	header := make([]byte, 48)
	if _, err := f.ReadAt(header, 0); err != nil {
		t.Fatal(err)
	}
	entries, table := int64(binary.BigEndian.Uint32(header[36:])), int64(binary.BigEndian.Uint64(header[40:]))
	if table == 3<<16 {
		t.Fatal("QEMU has not moved the table: this tests nothing")
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 4096), table+8*entries); err != nil {
		t.Fatal(err)
	}
	if _, err := qcow2.New().Grow(t.Context(), spec, 9<<30); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "check", "-q", spec.Path)
	qemuImg(t, "resize", "-q", spec.Path, "10G")
	qemuImg(t, "check", "-q", spec.Path)
}
