package ext4

import (
	"io"

	"banger/api"
)

// HeadBytes is how many bytes at the start of a file Is and ReadSuper need.
const HeadBytes = superOffset + superBytes

// Is reports whether a file that starts with head has the magic number. This is only
// two bytes, so another file may have it by chance.
func Is(head []byte) bool {
	return len(head) >= HeadBytes && le.Uint16(head[superOffset+0x38:]) == magic
}

// Super is the superblock of an ext2, ext3 or ext4 file system, including those with
// unsupported features.
type Super struct {
	Bytes int64 // size of the file system
	Clean bool  // it was unmounted, so its journal needs no replay
}

// ReadSuper reads a superblock.
func ReadSuper(r io.ReaderAt) (Super, error) {
	const (
		stateClean  = 0x1
		incompatDev = 0x8     // it is a journal, not a file system
		most        = 1 << 44 // 16 TiB, more than a VM's disk can have
	)
	head := make([]byte, HeadBytes)
	if _, err := r.ReadAt(head, 0); err != nil || !Is(head) {
		return Super{}, api.Errorf(api.KindInvalid, "it is not an ext4 file system")
	}
	b := head[superOffset:]
	incompat, logSize := le.Uint32(b[0x60:]), le.Uint32(b[0x18:])
	if incompat&incompatDev != 0 || logSize > 6 { // blocks of 64 KiB at most
		return Super{}, api.Errorf(api.KindInvalid, "it is not an ext4 file system that a guest can use")
	}
	blocks := uint64(le.Uint32(b[0x4:]))
	if incompat&incompat64bit != 0 {
		blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	if blocks == 0 || blocks > most>>(10+logSize) {
		return Super{}, api.Errorf(api.KindInvalid, "its ext4 file system has an invalid size: %d blocks", blocks)
	}
	return Super{
		Bytes: int64(blocks << (10 + logSize)),
		Clean: le.Uint16(b[0x3A:])&stateClean != 0 && incompat&incompatRecover == 0,
	}, nil
}
