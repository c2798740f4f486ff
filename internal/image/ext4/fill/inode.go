package fill

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/host/fsx"
	"banger/internal/image/ext4"
)

// MostLinks is how many hard links a file can have (EXT4_LINK_MAX).
const MostLinks = 65000

// Meta is the metadata common to all files.
type Meta struct {
	Mode     uint16 // with the type, as stat(2) returns it
	UID, GID uint32
	ModTime  time.Time
	Attrs    []ext4.Attr // as getxattr(2) returns them
}

const (
	flagExtents = 0x80000
	flagIndex   = 0x1000
	extraSize   = 32
	inlineBytes = 60 // of a symbolic link's target, and of a device's numbers
)

// inode is an inode that is being written.
type inode struct {
	Meta
	number uint32
	size   int64
	links  uint16
	flags  uint32
	blocks uint64 // number of blocks that it occupies
	block  [inlineBytes]byte
	attrs  []byte // stored in the inode
	acl    uint64 // the block of the other attributes
}

// seedOf returns the seed of the checksums of an inode, and of the blocks that belong
// to it.
func (w *Writer) seedOf(number uint32) uint32 {
	return crc(crc(w.seed, le.AppendUint32(nil, number)), make([]byte, 4)) // its generation is 0
}

// put writes an inode. It returns how many attributes did not fit.
func (w *Writer) put(i *inode) (lost int, err error) {
	if lost, err = w.putAttrs(i); err != nil {
		return lost, err
	}
	b := make([]byte, inodeSize)
	le.PutUint16(b, i.Mode)
	le.PutUint16(b[0x2:], uint16(i.UID))
	le.PutUint16(b[0x78:], uint16(i.UID>>16))
	le.PutUint16(b[0x18:], uint16(i.GID))
	le.PutUint16(b[0x7A:], uint16(i.GID>>16))
	le.PutUint32(b[0x4:], uint32(i.size))
	le.PutUint32(b[0x6C:], uint32(i.size>>32))
	le.PutUint16(b[0x1A:], i.links)
	sectors := i.blocks * (BlockSize / 512)
	le.PutUint32(b[0x1C:], uint32(sectors))
	le.PutUint16(b[0x74:], uint16(sectors>>32))
	le.PutUint32(b[0x20:], i.flags)
	copy(b[0x28:], i.block[:])
	le.PutUint32(b[0x68:], uint32(i.acl))
	le.PutUint16(b[0x76:], uint16(i.acl>>32))
	le.PutUint16(b[0x80:], extraSize)
	sec := clamp(i.ModTime.Unix())
	more := uint32(i.ModTime.Nanosecond())<<2 | uint32((sec-int64(int32(sec)))>>32)&3
	for low, high := range map[int]int{0x8: 0x8C, 0xC: 0x84, 0x10: 0x88, 0x90: 0x94} { // access, change, modification, birth
		le.PutUint32(b[low:], uint32(sec))
		le.PutUint32(b[high:], more)
	}
	copy(b[128+extraSize:], i.attrs)
	w.sign(i.number, b)
	_, err = w.f.WriteAt(b, w.inodeAt(i.number))
	return lost, err
}

// clamp keeps seconds within 34 bits: from 1901 to 2446.
func clamp(sec int64) int64 { return min(max(sec, -1<<31), 1<<34-1<<31-1) }

// sign writes an inode's checksum into it.
func (w *Writer) sign(number uint32, b []byte) {
	le.PutUint16(b[0x7C:], 0)
	le.PutUint16(b[0x82:], 0)
	sum := crc(w.seedOf(number), b)
	le.PutUint16(b[0x7C:], uint16(sum))
	le.PutUint16(b[0x82:], uint16(sum>>16))
}

// Link adds a hard link to a file; it returns false if the file cannot have more.
func (w *Writer) Link(number uint32) (bool, error) {
	n := max(w.links[number], 1)
	if n == MostLinks {
		return false, nil
	}
	w.links[number] = n + 1
	b := make([]byte, inodeSize)
	if _, err := w.f.ReadAt(b, w.inodeAt(number)); err != nil {
		return false, err
	}
	le.PutUint16(b[0x1A:], n+1)
	w.sign(number, b)
	_, err := w.f.WriteAt(b, w.inodeAt(number))
	return true, err
}

// File writes a regular file with the content of from. Blocks of zeros become holes. It
// returns how many attributes were left out.
func (w *Writer) File(ctx context.Context, number uint32, m Meta, from *os.File, size int64) (int, error) {
	i := &inode{Meta: m, number: number, size: size, links: 1, flags: flagExtents}
	t := &tree{w: w, i: i}
	if w.buffer == nil {
		w.buffer = make([]byte, 1<<20)
	}
	buffer, done := w.buffer, int64(0)
	err := fsx.EachData(ctx, from, size, int64(len(buffer))-2*BlockSize, func(at, n int64) error {
		start := max(at/BlockSize*BlockSize, done)
		done = (at + n + BlockSize - 1) / BlockSize * BlockSize
		if start >= done {
			return nil
		}
		p := buffer[:done-start]
		read, err := from.ReadAt(p[:min(int64(len(p)), size-start)], start)
		if err != nil && int64(read) != size-start {
			return err
		}
		clear(p[read:])
		return t.write(uint32(start/BlockSize), p)
	})
	if err != nil {
		return 0, err
	}
	return t.end()
}

// Symlink writes a symbolic link.
func (w *Writer) Symlink(number uint32, m Meta, target string) (int, error) {
	i := &inode{Meta: m, number: number, size: int64(len(target)), links: 1}
	if len(target) < inlineBytes {
		copy(i.block[:], target)
		return w.put(i)
	}
	if len(target) >= BlockSize {
		return 0, fmt.Errorf("the target of a symbolic link has %d bytes", len(target))
	}
	i.flags = flagExtents
	t := &tree{w: w, i: i}
	p := make([]byte, BlockSize)
	copy(p, target)
	if err := t.write(0, p); err != nil {
		return 0, err
	}
	return t.end()
}

// Node writes a device, fifo or socket. A device's numbers are stored where other files
// have their first blocks: in the old format, or in the new one if they are too large
// (kdev_t.h in the kernel).
func (w *Writer) Node(number uint32, m Meta, major, minor uint32) (int, error) {
	i := &inode{Meta: m, number: number, links: 1}
	switch {
	case m.Mode&unix.S_IFMT != unix.S_IFCHR && m.Mode&unix.S_IFMT != unix.S_IFBLK:
	case major < 256 && minor < 256:
		le.PutUint32(i.block[:], major<<8|minor)
	default:
		le.PutUint32(i.block[4:], minor&0xFF|major<<8|minor&^0xFF<<12)
	}
	return w.put(i)
}
