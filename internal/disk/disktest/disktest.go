// Package disktest is the suite that every disk driver passes.
package disktest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/disk"
)

// Run runs the suite on files in dir. read returns a disk's whole content as a
// guest would see it.
func Run(t *testing.T, d disk.Driver, dir string, read func(t *testing.T, path string) []byte) {
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
	f, err := os.OpenFile(base, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(want[1<<20:1<<20+4000], 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(want))); err != nil {
		t.Fatal(err)
	}
	f.Close()
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

func list(entries []os.DirEntry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.Name() + " ")
	}
	return b.String()
}
