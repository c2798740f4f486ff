package harness

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
)

// KernelRelease is what a fake kernel says it is.
const KernelRelease = "6.6.6-fake"

// FakeKernel writes what `kernel import` takes for a kernel to dir/vmlinux, and
// its modules to dir/modules: an ELF file without code but with the note that
// names its PVH entry point, and a list of modules that are all built in. Salt
// makes its content, and so its digest, another.
func FakeKernel(dir, salt string) error {
	modules := filepath.Join(dir, "modules")
	if err := os.MkdirAll(modules, 0o755); err != nil {
		return err
	}
	var builtin strings.Builder
	for _, name := range []string{"virtio_mmio", "virtio_console", "virtio_blk", "ext4", "virtio_net"} {
		builtin.WriteString("kernel/drivers/" + name + ".ko\n")
	}
	if err := os.WriteFile(filepath.Join(modules, "modules.builtin"), []byte(builtin.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "vmlinux"), fakeELF(salt), 0o644)
}

// fakeELF is an x86-64 ELF file of one segment, a note (elf(5)).
func fakeELF(salt string) []byte {
	const headerSize, programSize = 64, 56
	note := elfNote("Xen", 18, make([]byte, 4)) // XEN_ELFNOTE_PHYS32_ENTRY
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a buffer takes all
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	put([]uint16{2, 62})                               // an executable, for x86-64
	put(uint32(1))                                     // version
	put([]uint64{0, headerSize, 0})                    // entry, program headers, section headers
	put(uint32(0))                                     // flags
	put([]uint16{headerSize, programSize, 1, 0, 0, 0}) // sizes and counts
	put([]uint32{4, 4})                                // a note, readable
	put([]uint64{headerSize + programSize, 0, 0, uint64(len(note)), uint64(len(note)), 4})
	b.Write(note)
	b.WriteString("Linux version " + KernelRelease + " (nobody@example.org) " + salt)
	return b.Bytes()
}

func elfNote(name string, kind uint32, description []byte) []byte {
	var b bytes.Buffer
	for _, n := range []uint32{uint32(len(name) + 1), uint32(len(description)), kind} {
		_ = binary.Write(&b, binary.LittleEndian, n)
	}
	b.WriteString(name + "\x00")
	b.Write(description)
	return b.Bytes()
}
