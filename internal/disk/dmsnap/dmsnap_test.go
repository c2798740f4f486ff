package dmsnap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/disk/disktest"
	"banger/internal/disk/dmsnap"
	"banger/internal/host/blockdev"
	"banger/internal/host/fsx"
)

func yes(context.Context) error { return nil }

func TestContract(t *testing.T) {
	read, write := throughDevice, writeDevice
	if err := blockdev.Available(); err != nil {
		t.Logf("NOT RUN: reading disks through the device-mapper: %v", err)
		read, write = applied, writeCow
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

// baseFor is what Grow says that the disk is attached with, which changes nothing, and the
// suite's base before that.
func baseFor(path string) string {
	base, err := dmsnap.New(yes).Grow(context.Background(), disk.Spec{Base: filepath.Join(filepath.Dir(path), "base"), Path: path}, 0)
	if err != nil {
		panic(err)
	}
	return base
}

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

// applied reads what a VM would read where there is no device-mapper: the base, with what was
// written to the file.
func applied(t *testing.T, path string) []byte {
	t.Helper()
	f := open(t, path, os.O_RDONLY)
	defer f.Close()
	if _, err := f.Seek(0, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
		return asNew(t, path)
	}
	content, err := os.ReadFile(baseFor(path))
	if err != nil {
		t.Fatal(err)
	}
	to, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, err := to.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := blockdev.ApplyCow(t.Context(), to, f, int64(len(content))); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Seek(0, io.SeekEnd); err != nil || size < blockdev.CowBytes(int64(len(content))) {
		t.Errorf("the file has %d bytes, which can fill, %v", size, err)
	}
	if content, err = os.ReadFile(to.Name()); err != nil {
		t.Fatal(err)
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

// TestGrowAfterACrash: an attempt that was cut short at any point is made again, and what the
// disk is attached with is whole.
func TestGrowAfterACrash(t *testing.T) {
	const size = 1 << 20
	dir := t.TempDir()
	spec := disk.Spec{Base: filepath.Join(dir, "base"), Path: filepath.Join(dir, "disk")}
	if err := os.WriteFile(spec.Base, bytes.Repeat([]byte("b"), size), 0o600); err != nil {
		t.Fatal(err)
	}
	d := dmsnap.New(yes)
	if err := d.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spec.Path+".base.new", []byte("half"), 0o600); err != nil { // killed while it copied
		t.Fatal(err)
	}
	base, err := d.Grow(t.Context(), spec, 2*size)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(spec.Path, blockdev.CowBytes(size)); err != nil { // killed before it was made longer
		t.Fatal(err)
	}
	again, err := d.Grow(t.Context(), spec, 2*size)
	if err != nil || again != base {
		t.Fatalf("%s, then %s, %v", base, again, err)
	}
	if got, want := len(applied(t, spec.Path)), 2*size; got != want {
		t.Errorf("it has %d bytes, not %d", got, want)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := d.Remove(t.Context(), spec.Path); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("removed, but for: %v, %v", left, err)
	}
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

func TestProbeNamesNothing(t *testing.T) {
	disktest.ProbeNamesNothing(t, dmsnap.New(func(context.Context) error { return nil }))
}
