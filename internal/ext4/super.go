package ext4

import (
	"io"

	"banger/api"
)

// HeadBytes is how much from the beginning of a file tells whether it is a file
// system.
const HeadBytes = superOffset + superBytes

// Is says whether a file that begins with head has the magic number. That has two
// bytes only, so that another file may have it by chance.
func Is(head []byte) bool {
	return len(head) >= HeadBytes && le.Uint16(head[superOffset+0x38:]) == magic
}

// Super is what the superblock says of any ext2, ext3 or ext4 file system, also of one
// with features that are not understood here.
type Super struct {
	Bytes int64 // size of the file system
	Clean bool  // it was unmounted, and its journal needs no replay
}

// ReadSuper reads a superblock.
func ReadSuper(r io.ReaderAt) (Super, error) {
	const (
		stateClean  = 0x1
		incompatDev = 0x8     // it is a journal and no file system
		most        = 1 << 44 // 16 TiB, what a disk of a VM cannot have
	)
	head := make([]byte, HeadBytes)
	if _, err := r.ReadAt(head, 0); err != nil || !Is(head) {
		return Super{}, api.Errorf(api.KindInvalid, "it is no ext4 file system")
	}
	b := head[superOffset:]
	incompat, logSize := le.Uint32(b[0x60:]), le.Uint32(b[0x18:])
	if incompat&incompatDev != 0 || logSize > 6 { // blocks of 64 KiB at most
		return Super{}, api.Errorf(api.KindInvalid, "it is no ext4 file system that a guest can use")
	}
	blocks := uint64(le.Uint32(b[0x4:]))
	if incompat&incompat64bit != 0 {
		blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	if blocks == 0 || blocks > most>>(10+logSize) {
		return Super{}, api.Errorf(api.KindInvalid, "its ext4 file system has an impossible size: %d blocks", blocks)
	}
	return Super{
		Bytes: int64(blocks << (10 + logSize)),
		Clean: le.Uint16(b[0x3A:])&stateClean != 0 && incompat&incompatRecover == 0,
	}, nil
}
