package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// vmlinux is an uncompressed kernel that a microvm can boot.
type vmlinux struct {
	image   []byte
	release string // empty if unknown
}

var releasePattern = regexp.MustCompile(`^[0-9]+\.[0-9A-Za-z.+~_-]{1,100}$`)

func validRelease(s string) bool { return releasePattern.MatchString(s) }

// extract extracts the uncompressed kernel from a packaged kernel file, and checks that
// it can be booted.
func extract(data []byte) (vmlinux, error) {
	var v vmlinux
	if isBzImage(data) {
		bz, err := parseBzImage(data)
		if err != nil {
			return v, err
		}
		v.release = bz.release
		// All except gzip are followed by their size in 4 bytes (scripts/Makefile.lib).
		data = bz.payload
		if !bytes.HasPrefix(data, []byte(magicGzip)) {
			data = data[:len(data)-4]
		}
	}
	image, err := decompress(data)
	if err != nil {
		return v, fmt.Errorf("decompress: %w", err)
	}
	v.image = image
	if v.release == "" {
		v.release = elfRelease(image)
	}
	return v, checkPVH(image)
}

// elfRelease finds the version banner that every kernel contains.
func elfRelease(image []byte) string {
	const banner = "Linux version "
	for rest := image; ; {
		i := bytes.Index(rest, []byte(banner))
		if i < 0 {
			return ""
		}
		rest = rest[i+len(banner):]
		word, _, ok := bytes.Cut(rest[:min(len(rest), 128)], []byte(" "))
		if ok && validRelease(string(word)) {
			return string(word)
		}
	}
}

// noteEntry is XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h): the address at
// which a PVH loader, such as QEMU's microvm and Firecracker, enters the kernel.
const noteEntry = 18

var errNoPVH = errors.New("it lacks the PVH entry point that microVMs start at (build it with CONFIG_PVH=y)")

// checkPVH checks that image is an x86-64 ELF file with a PVH entry point.
func checkPVH(image []byte) error {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("it is not an ELF kernel: %w", err)
	}
	if f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("it is for %s, not for x86-64", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_NOTE && p.Filesz < 1<<20 {
			notes, err := io.ReadAll(p.Open())
			if err == nil && hasNote(notes, "Xen", noteEntry) {
				return nil
			}
		}
	}
	return errNoPVH
}

// hasNote walks ELF notes (elf(5)): three words, then name and descriptor,
// each padded to 4 bytes.
func hasNote(notes []byte, name string, kind uint32) bool {
	for len(notes) >= 12 {
		nameSize := int64(binary.LittleEndian.Uint32(notes))
		descSize := int64(binary.LittleEndian.Uint32(notes[4:]))
		found := binary.LittleEndian.Uint32(notes[8:])
		notes = notes[12:]
		next := (nameSize+3)&^3 + (descSize+3)&^3
		if nameSize > int64(len(notes)) || next > int64(len(notes)) {
			return false
		}
		if found == kind && string(bytes.TrimRight(notes[:nameSize], "\x00")) == name {
			return true
		}
		notes = notes[next:]
	}
	return false
}
