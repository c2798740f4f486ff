package dmsnap_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/blockdev"
	"banger/internal/disk"
	"banger/internal/disk/disktest"
	"banger/internal/disk/dmsnap"
	"banger/internal/fsx"
)

func yes(context.Context) error { return nil }

func TestContract(t *testing.T) {
	read := throughDevice
	if err := blockdev.Available(); err != nil {
		t.Logf("NOT RUN: reading disks through the device-mapper: %v", err)
		read = asNew
	}
	disktest.Run(t, dmsnap.New(yes), t.TempDir(), read)
}

func open(t *testing.T, path string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// baseFor is the suite's base.
func baseFor(path string) string { return filepath.Join(filepath.Dir(path), "base") }

// throughDevice reads what a VM reads.
func throughDevice(t *testing.T, path string) []byte {
	t.Helper()
	const id = "d15c00000001"
	base, cow := open(t, baseFor(path), os.O_RDONLY), open(t, path, os.O_RDWR)
	defer base.Close()
	defer cow.Close()
	d, err := blockdev.AttachSnapshot(t.Context(), id, base, cow)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := blockdev.Detach(context.Background(), id); err != nil {
			t.Error(err)
		}
	}()
	device := open(t, d.Path(), os.O_RDWR)
	defer device.Close()
	content, err := io.ReadAll(device)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := device.WriteAt([]byte("written by the VM"), 0); err != nil {
		t.Error(err)
	}
	if err := device.Sync(); err != nil {
		t.Error(err)
	}
	if now, err := os.ReadFile(baseFor(path)); err != nil || !bytes.Equal(now, content) {
		t.Errorf("writing to the disk changed the base, %v", err)
	}
	return content
}

// asNew reads what a VM would read: the base, if the file is what the
// device-mapper takes for new, which begins with zeros, and has the right size.
func asNew(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(baseFor(path))
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, path, os.O_RDONLY)
	defer f.Close()
	if at, err := f.Seek(0, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
		t.Errorf("there are data at %d, %v", at, err)
	}
	if size, err := f.Seek(0, io.SeekEnd); err != nil || size != blockdev.CowBytes(int64(len(content))) {
		t.Errorf("the file has %d bytes, %v", size, err)
	}
	if n := fsx.Usage(path); n != 0 {
		t.Errorf("the file takes %d bytes", n)
	}
	return content
}

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	no := api.Errorf(api.KindUnsupported, "the helper says no")
	if err := dmsnap.New(func(context.Context) error { return no }).Probe(t.Context(), dir, dir); !errors.Is(err, no) {
		t.Error(err)
	}
	if err := dmsnap.New(yes).Probe(t.Context(), dir+"/absent", dir); err == nil {
		t.Error("a directory that is not there will do")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestRefusesBases(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{empty, dir} {
		err := dmsnap.New(yes).Create(t.Context(), disk.Spec{Base: base, Path: filepath.Join(dir, "disk")})
		if api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", base, err)
		}
	}
}
