package roothelper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/host/blockdev"
	"banger/internal/rootapi"
)

// benchBlocks says that a VM has a device.
type benchBlocks struct{ Blocks }

func (benchBlocks) Lookup(string) (blockdev.Device, bool, error) {
	return blockdev.Device{Name: "loop0", Major: 7}, true, nil
}

// BenchmarkJail makes and fills a Firecracker's jail in place of the last one.
func BenchmarkJail(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("only root can make a jail")
	}
	// Not below the directory for tests: others than root may write above that.
	dir, err := os.MkdirTemp("/var/tmp", "banger-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	programs := filepath.Join(dir, "bin")
	h := &Helper{
		Settings: Settings{UIDBase: 1900000000, UIDCount: 16384, Firecracker: programs + "/firecracker", Jailer: programs + "/jailer"},
		Blocks:   benchBlocks{}, Dirs: Dirs{Jails: filepath.Join(dir, "jails"), Boot: filepath.Join(dir, "boot"), Run: filepath.Join(dir, "run")},
	}
	for _, d := range []string{programs, h.Dirs.Boot, h.Dirs.Run} {
		if err := os.Mkdir(d, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for path, text := range map[string]string{
		h.Settings.Firecracker: "#!/bin/sh\necho Firecracker v1.14.2\n", h.Settings.Jailer: "#!/bin/sh\necho Jailer v1.14.2\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	call := rootapi.VMStartCall{
		VM: rootapi.VM{ID: "be4c00000001"}, Slot: 1, VMM: rootapi.Firecracker, VCPUs: 1, MemoryMiB: 256,
		Kernel: strings.Repeat("a", 64), Initramfs: strings.Repeat("b", 64), Cmdline: "quiet",
	}
	for _, digest := range []string{call.Kernel, call.Initramfs} {
		if err := os.WriteFile(filepath.Join(h.Dirs.Boot, digest), []byte("x"), 0o444); err != nil {
			b.Fatal(err)
		}
	}
	logs := []*os.File{os.Stdout, os.Stderr}
	for b.Loop() {
		s, err := h.prepare(b.Context(), call, logs)
		if err != nil {
			b.Fatal(err)
		}
		s.close()
	}
}
