package qcow2_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/disk/disktest"
	"banger/internal/disk/qcow2"
	"banger/internal/execx"
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
