package dmsnap_test

import (
	"context"
	"encoding/binary"
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
	read, write := throughDevice, writeDevice
	if err := blockdev.Available(); err != nil {
		t.Logf("NOT RUN: reading disks through the device-mapper: %v", err)
		read, write = asNew, writeCow
	}
	disktest.Run(t, dmsnap.New(yes), t.TempDir(), read, write)
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
func throughDevice(t *testing.T, path string) (content []byte) {
	t.Helper()
	device(t, path, func(f *os.File) (err error) {
		content, err = io.ReadAll(f)
		return err
	})
	return content
}

// writeDevice writes as a VM does.
func writeDevice(t *testing.T, path string, p []byte, at int64) {
	t.Helper()
	device(t, path, func(f *os.File) error {
		_, err := f.WriteAt(p, at)
		return errors.Join(err, f.Sync())
	})
}

// device attaches a disk for as long as do takes.
func device(t *testing.T, path string, do func(f *os.File) error) {
	t.Helper()
	const id = "d15c00000001"
	base, cow := open(t, baseFor(path), os.O_RDONLY), open(t, path, os.O_RDWR)
	defer base.Close()
	defer cow.Close()
	d, err := blockdev.AttachSnapshot(t.Context(), id, base, cow)
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, d.Path(), os.O_RDWR)
	err = errors.Join(do(f), f.Close(), blockdev.Detach(context.Background(), id))
	if err != nil {
		t.Fatal(err)
	}
}

// writeCow writes 4 KiB to a copy-on-write file where there is no device-mapper, as
// drivers/md/dm-snap-persistent.c does: the data to the next free chunk, and to the
// list where they belong.
func writeCow(t *testing.T, path string, p []byte, at int64) {
	t.Helper()
	const chunk = 4096
	f := open(t, path, os.O_RDWR)
	defer f.Close()
	header := binary.LittleEndian.AppendUint32(nil, 0x70416e53)
	for _, field := range []uint32{1, 1, chunk / 512} { // valid, version, sectors a chunk
		header = binary.LittleEndian.AppendUint32(header, field)
	}
	list := make([]byte, chunk)
	if _, err := f.ReadAt(list, chunk); err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for ; binary.LittleEndian.Uint64(list[16*n+8:]) != 0; n++ {
	}
	exception := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(at/chunk)), n+2)
	for _, w := range []struct {
		p  []byte
		at int64
	}{{header, 0}, {p, int64(n+2) * chunk}, {exception, chunk + int64(n)*16}} {
		if _, err := f.WriteAt(w.p, w.at); err != nil {
			t.Fatal(err)
		}
	}
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
