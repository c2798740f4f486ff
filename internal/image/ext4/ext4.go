// Package ext4 reads ext2, ext3 and ext4 file systems from files: without mounting
// them, and without root. The file systems are not trusted, so every number is checked:
// the package does not panic, always terminates, and bounds its memory
// (https://docs.kernel.org/filesystems/ext4/).
package ext4

import (
	"encoding/binary"
	"io"
	"math/bits"
	"strings"

	"banger/api"
)

// Root is the inode number of the root directory.
const Root = 2

var le = binary.LittleEndian

// The superblock.
const (
	superOffset = 1024
	superBytes  = 1024
	magic       = 0xEF53
	firstSize   = 128     // of inodes in the first revision, and of the fields common to all
	mostBytes   = 1 << 50 // of a file system: a bound for arithmetic
)

// The incompatible features: a reader that does not support one must not read.
const (
	incompatFiletype = 0x2
	incompatRecover  = 0x4
	incompat64bit    = 0x80
	incompatLargeDir = 0x4000
	incompatInline   = 0x8000

	// supported are these, extents, MMP, flexible groups and the checksums' seed.
	supported = incompatFiletype | 0x40 | incompat64bit | 0x100 | 0x200 | 0x2000 | incompatLargeDir | incompatInline
)

// incompatNames are mke2fs's names of the unsupported ones.
var incompatNames = map[int]string{
	0: "compression", 3: "journal_dev", 4: "meta_bg", 10: "ea_inode", 12: "dirdata", 16: "encrypt", 17: "casefold",
}

// FS is a file system.
type FS struct {
	r      io.ReaderAt
	block  int64  // bytes of a block
	blocks uint64 // of the file system
	first  uint64 // block
	inodes uint32

	perGroup  uint32 // inodes of a group
	inodeSize int64
	descSize  int64
	incompat  uint32
}

// Open reads the superblock of the file system in r, which has size bytes.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	b := make([]byte, superBytes)
	if size < superOffset+superBytes {
		return nil, damaged("it is too small for a file system")
	}
	if _, err := r.ReadAt(b, superOffset); err != nil {
		return nil, unread(err)
	}
	if le.Uint16(b[0x38:]) != magic {
		return nil, damaged("it is not an ext4 file system")
	}
	fs := &FS{
		r: r, blocks: uint64(le.Uint32(b[0x4:])), first: uint64(le.Uint32(b[0x14:])), inodes: le.Uint32(b[0x0:]),
		perGroup: le.Uint32(b[0x28:]), inodeSize: firstSize, descSize: 32,
	}
	if le.Uint32(b[0x4C:]) > 0 { // the first revision has no features
		fs.incompat, fs.inodeSize = le.Uint32(b[0x60:]), int64(le.Uint16(b[0x58:]))
	}
	if err := fs.supports(); err != nil {
		return nil, err
	}
	if fs.has(incompat64bit) {
		fs.blocks |= uint64(le.Uint32(b[0x150:])) << 32
		fs.descSize = int64(le.Uint16(b[0xFE:]))
	}
	return fs, fs.check(b, size)
}

func (fs *FS) has(feature uint32) bool { return fs.incompat&feature != 0 }

func (fs *FS) supports() error {
	if fs.has(incompatRecover) {
		return api.Errorf(api.KindUnsupported, "its journal has to be replayed first").WithHint("run e2fsck -f FILE and import it again")
	}
	var names []string
	for rest := fs.incompat &^ supported; rest != 0; rest &= rest - 1 {
		bit := bits.TrailingZeros32(rest)
		name, ok := incompatNames[bit]
		if !ok {
			name = "number " + string(rune('0'+bit/10)) + string(rune('0'+bit%10))
		}
		names = append(names, name)
	}
	if len(names) > 0 {
		return api.Errorf(api.KindUnsupported, "its file system has unsupported features: %s", strings.Join(names, ", "))
	}
	return nil
}

// check refuses an invalid superblock, so that values computed from it stay within
// bounds.
func (fs *FS) check(b []byte, size int64) error {
	logSize, groupBlocks := le.Uint32(b[0x18:]), uint64(le.Uint32(b[0x20:]))
	if logSize > 6 { // blocks of 64 KiB at most
		return damaged("its block size is invalid")
	}
	fs.block = 1024 << logSize
	switch {
	case fs.blocks == 0 || fs.blocks > uint64(mostBytes/fs.block) || fs.first >= fs.blocks || fs.first > 1:
		return damaged("its number of blocks is invalid: %d", fs.blocks)
	case int64(fs.blocks)*fs.block > size:
		return damaged("it is cut off: it has %d bytes of %d", size, int64(fs.blocks)*fs.block)
	case fs.inodeSize < firstSize || fs.inodeSize > fs.block || fs.inodeSize&(fs.inodeSize-1) != 0:
		return damaged("its inode size is invalid: %d", fs.inodeSize)
	case fs.descSize < 32 || fs.descSize > fs.block || fs.has(incompat64bit) && fs.descSize < 64:
		return damaged("its size of group descriptors is invalid: %d", fs.descSize)
	case groupBlocks == 0 || fs.perGroup == 0:
		return damaged("its groups are empty")
	}
	groups := (fs.blocks - fs.first + groupBlocks - 1) / groupBlocks
	if uint64(fs.inodes) > groups*uint64(fs.perGroup) {
		return damaged("its number of inodes is invalid: %d", fs.inodes)
	}
	return nil
}

// readAt fills p from an offset in the file system.
func (fs *FS) readAt(p []byte, offset int64) error {
	if offset < 0 || offset > int64(fs.blocks)*fs.block-int64(len(p)) {
		return damaged("it points beyond its own end")
	}
	if _, err := fs.r.ReadAt(p, offset); err != nil {
		return unread(err)
	}
	return nil
}

// readBlock reads a whole block.
func (fs *FS) readBlock(n uint64) ([]byte, error) {
	if err := fs.inside(n, 1); err != nil {
		return nil, err
	}
	p := make([]byte, fs.block)
	return p, fs.readAt(p, int64(n)*fs.block)
}

// inside refuses blocks that the file system does not have. Nothing may use the block
// with the superblock.
func (fs *FS) inside(block, count uint64) error {
	if block <= fs.first || block >= fs.blocks || count > fs.blocks-block {
		return damaged("it points to block %d of %d", block, fs.blocks)
	}
	return nil
}

func damaged(format string, args ...any) error {
	return api.Errorf(api.KindInvalid, "the file system is damaged: "+format, args...)
}

func unread(err error) error {
	return api.Errorf(api.KindInternal, "cannot read the file system: %w", err)
}
