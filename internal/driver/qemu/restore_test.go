package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/host/execx"
	"banger/internal/paths"
)

// TestRestoreThatWasKilled: a QEMU whose starter was killed before it loaded the state has no guest, and
// is not taken for a machine.
func TestRestoreThatWasKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a real QEMU")
	}
	dir := t.TempDir()
	s := driver.Spec{ID: "00000000000a", Dir: dir, VCPUs: 1, MemoryBytes: 64 << 20, Disk: filepath.Join(dir, paths.VMDisk), DiskFormat: disk.Raw, Accel: TCG}
	memory := filepath.Join(dir, driver.SavedMemory)
	for name, length := range map[string]int64{s.Disk: 1 << 20, memory: s.MemoryBytes} {
		f, err := os.Create(name)
		if err == nil {
			err = errors.Join(f.Truncate(length), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	path, err := execx.LookPath(binary, debianPackage)
	if err != nil {
		t.Fatal(err)
	}
	p, err := spawn(path, s, func(files Files) []string { return RestoreArgs(s, TCG, files, memory) })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer p.Kill(context.WithoutCancel(t.Context()), time.Minute)
	if err := awaitMonitor(t.Context(), p, dir); err != nil {
		t.Fatal(err)
	}
	d := New(paths.Paths{Cache: t.TempDir()}, Options{Accel: TCG})
	m, err := d.Recover(t.Context(), s.ID, s.Dir, nil)
	if !errors.Is(err, driver.ErrGone) {
		if err == nil {
			m.Release()
		}
		t.Errorf("it is taken for a machine: %v", err)
	}
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Error("it was not ended")
	}
}

func TestHostCPU(t *testing.T) {
	info := filepath.Join(t.TempDir(), "cpuinfo")
	said := func(text string) string {
		t.Helper()
		if err := os.WriteFile(info, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cpu, err := hostCPU(info)
		if err != nil {
			t.Fatal(err)
		}
		return cpu
	}
	one := said("processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu vme\n\nprocessor\t: 1\nmodel name\t: Another\nflags\t\t: x\n")
	if want := "A CPU, features "; len(one) != len(want)+16 || one[:len(want)] != want {
		t.Errorf("%q", one)
	}
	if said("model name\t: A CPU\nflags\t\t: fpu\n") == one {
		t.Error("a processor with fewer features is the same")
	}
	if _, err := hostCPU(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("a processor from nowhere")
	}
}
