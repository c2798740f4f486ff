// Package disktest is the suite that every disk driver passes.
package disktest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/host/fsx"
)

// Run runs the suite on files in dir. read returns a disk's whole content as a
// guest would see it, and write writes to it as a guest would.
func Run(t *testing.T, d disk.Driver, dir string, read func(t *testing.T, path string) []byte, write func(t *testing.T, path string, p []byte, at int64)) {
	ctx := t.Context()
	if err := d.Probe(ctx, dir, dir); err != nil {
		t.Fatalf("Probe: %v", err)
	}
	want := make([]byte, 3<<20)
	copy(want[1<<20:], bytes.Repeat([]byte("data"), 1000)) // between holes
	base := filepath.Join(dir, "base")
	if err := os.WriteFile(base, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	WriteRaw(t, base, want[1<<20:1<<20+4000], 1<<20)
	if err := os.Truncate(base, int64(len(want))); err != nil {
		t.Fatal(err)
	}
	spec := disk.Spec{Base: base, Path: filepath.Join(dir, "disk")}
	if err := d.Create(ctx, spec); err != nil {
		t.Fatalf("Create: %v", err)
	}
	if got := read(t, spec.Path); !bytes.Equal(got, want) {
		t.Errorf("the disk's content is not the base's")
	}
	if err := d.Create(ctx, spec); api.KindOf(err) != api.KindExists {
		t.Errorf("Create over a file: %v", err)
	}
	flattens(t, d, spec, want, write)
	grows(t, d, spec, want, read, write)
	for range 2 { // idempotent
		if err := d.Remove(ctx, spec.Path); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := d.Create(cancelled, spec); api.KindOf(err) != api.KindCanceled {
		t.Errorf("Create with an ended context: %v", err)
	}
	if err := d.Create(ctx, disk.Spec{Base: base + "-absent", Path: spec.Path}); err == nil {
		t.Errorf("Create from an absent base succeeded")
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("left behind: %s", strings.TrimSpace(list(names)))
	}
}

// ReadRaw reads a disk that is a raw file.
func ReadRaw(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// WriteRaw writes to a disk that is a raw file.
func WriteRaw(t *testing.T, path string, p []byte, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(p, at)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// grows checks Grow of a disk whose content is want: what is there stays, also when it is
// grown again, and what is new reads as zeros and can be written.
func grows(t *testing.T, d disk.Driver, spec disk.Spec, want []byte, read func(t *testing.T, path string) []byte, write func(t *testing.T, path string, p []byte, at int64)) {
	t.Helper()
	before, err := os.ReadFile(spec.Base)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{int64(len(want)), 5 << 20, 5 << 20, 4 << 20, 7 << 20} {
		if _, err := d.Grow(t.Context(), spec, size); err != nil {
			t.Fatalf("Grow to %d: %v", size, err)
		}
		if grown := size - int64(len(want)); grown > 0 {
			want = append(want, make([]byte, grown)...)
			p := bytes.Repeat([]byte("in the new part "), 4096/16)
			copy(want[len(want)-4096:], p)
			write(t, spec.Path, p, int64(len(want)-4096))
		}
		if got := read(t, spec.Path); !bytes.Equal(got, want) {
			t.Fatalf("after Grow to %d the disk has %d bytes, not %d, or others", size, len(got), len(want))
		}
	}
	to := filepath.Join(t.TempDir(), "flat")
	if err := d.Flatten(t.Context(), spec, to); err != nil {
		t.Fatalf("Flatten: %v", err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what Flatten wrote of a grown disk is not its content, %v", err)
	}
	if after, err := os.ReadFile(spec.Base); err != nil || !bytes.Equal(after, before) {
		t.Errorf("Grow changed the base, %v", err)
	}
	if _, err := d.Grow(t.Context(), disk.Spec{Base: spec.Base, Path: spec.Path + "-absent"}, 9<<20); err == nil {
		t.Error("Grow of an absent disk succeeded")
	}
}

// flattens checks Flatten on a disk that no guest has written to, and on one that
// a guest has.
func flattens(t *testing.T, d disk.Driver, spec disk.Spec, want []byte, write func(t *testing.T, path string, p []byte, at int64)) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "flat")
	check := func() {
		t.Helper()
		if err := d.Flatten(t.Context(), spec, to); err != nil {
			t.Fatalf("Flatten: %v", err)
		}
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
			t.Errorf("what Flatten wrote is not the disk's content, %v", err)
		}
		if used := fsx.Usage(to); used > int64(len(want))/2 {
			t.Errorf("what Flatten wrote has no holes: %d bytes of %d", used, len(want))
		}
	}
	check()
	if err := d.Flatten(t.Context(), spec, to); api.KindOf(err) != api.KindExists {
		t.Errorf("Flatten over a file: %v", err)
	}
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	base, err := os.ReadFile(spec.Base)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 8192, 1<<20 + 4096, 3<<20 - 4096} {
		p := bytes.Repeat([]byte("from a guest    "), 4096/16)
		copy(want[at:], p)
		write(t, spec.Path, p, at)
	}
	check()
	if now, err := os.ReadFile(spec.Base); err != nil || !bytes.Equal(now, base) {
		t.Errorf("writing to the disk changed the base, %v", err)
	}
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Flatten(cancelled, spec, to); api.KindOf(err) != api.KindCanceled {
		t.Errorf("Flatten with an ended context: %v", err)
	}
	absent := disk.Spec{Base: spec.Base, Path: spec.Path + "-absent"}
	if err := d.Flatten(t.Context(), absent, to); err == nil {
		t.Errorf("Flatten of an absent disk succeeded")
	}
	if _, err := os.Lstat(to); err == nil {
		t.Errorf("Flatten left its file behind")
	}
}

func list(entries []os.DirEntry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.Name() + " ")
	}
	return b.String()
}
