// Package fill writes files into an empty ext4 file system, as mke2fs creates it:
// without mounting it, without root, and in time proportional to the data. mke2fs -d,
// debugfs and fuse2fs search a whole directory for each file that they add to it, which
// takes minutes for 20,000 files and a day for a million (tytso/e2fsprogs#215), and
// they write directories without an index, which a kernel can then never give more than
// 65,000 subdirectories.
//
// The structures are those of https://docs.kernel.org/filesystems/ext4/ and of the
// kernel's fs/ext4/ext4.h.
package fill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// BlockSize is the only supported block size, in bytes.
const BlockSize = 4096

// Features are the features that a file system must be created with: `mke2fs -O` +
// Features. They are the default of e2fsprogs 1.47, listed so that a host's mke2fs.conf
// has no effect.
const Features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super," +
	"large_file,huge_file,dir_nlink,extra_isize,metadata_csum"

// The numbers of mke2fs's own inodes.
const (
	RootInode      = 2
	LostFoundInode = 11
)

// ErrFull means that no block, or no inode, is free.
var ErrFull = errors.New("the file system is full")

var le = binary.LittleEndian

const (
	superOffset = 1024
	inodeSize   = 256
	descSize    = 64

	// Flags of a group: its bitmaps are not initialized.
	inodeUninit, blockUninit = 0x1, 0x2
)

// The features that are expected, as numbers.
const (
	compatWant   = 0x4 | 0x8 | 0x10 | 0x20
	incompatWant = 0x2 | 0x40 | 0x80 | 0x200
	roWant       = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400
)

// Writer is an open file system.
type Writer struct {
	f     *os.File
	super []byte
	descs []byte
	seed  uint32 // of all checksums

	blocks         uint64
	perGroup       uint64 // blocks per group
	inodesPerGroup uint32
	groups         []group
	next           uint64 // where the search for a free block starts
	nextInode      uint32
	links          map[uint32]uint16 // of inodes with several names
	buffer         []byte            // for the content of files

	hashSeed     [4]uint32
	hashUnsigned bool
}

type group struct {
	blocks, inodes []byte // bitmaps
	dirs           uint32
	touched        bool
}

// crc is CRC32c as ext4 computes it: not complemented at the start or the end.
func crc(sum uint32, data []byte) uint32 { return ^crc32.Update(^sum, castagnoli, data) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open opens the file system in f, which contains only its root directory and
// lost+found. The caller writes both again.
func Open(f *os.File) (*Writer, error) {
	w := &Writer{f: f, super: make([]byte, 1024), nextInode: LostFoundInode + 1, links: map[uint32]uint16{}}
	if _, err := f.ReadAt(w.super, superOffset); err != nil {
		return nil, err
	}
	s := w.super
	w.blocks = uint64(le.Uint32(s[0x4:])) | uint64(le.Uint32(s[0x150:]))<<32
	w.perGroup, w.inodesPerGroup = uint64(le.Uint32(s[0x20:])), le.Uint32(s[0x28:])
	if le.Uint16(s[0x38:]) != 0xEF53 || le.Uint32(s[0x18:]) != 2 || le.Uint16(s[0x58:]) != inodeSize || le.Uint16(s[0xFE:]) != descSize ||
		le.Uint32(s[0x5C:]) != compatWant || le.Uint32(s[0x60:]) != incompatWant || le.Uint32(s[0x64:])&^0x2 != roWant&^0x2 ||
		w.perGroup == 0 || w.perGroup > 8*BlockSize || w.perGroup%8 != 0 || w.inodesPerGroup == 0 || w.inodesPerGroup%8 != 0 {
		return nil, errors.New("mke2fs created a file system with other features than requested")
	}
	w.seed = crc(^uint32(0), s[0x68:0x78])
	for n := range w.hashSeed {
		w.hashSeed[n] = le.Uint32(s[0xEC+4*n:])
	}
	s[0xFC] = hashHalfMD4
	w.hashUnsigned = le.Uint32(s[0x160:])&0x2 != 0
	count := (w.blocks + w.perGroup - 1) / w.perGroup
	w.descs = make([]byte, count*descSize)
	if _, err := f.ReadAt(w.descs, BlockSize); err != nil {
		return nil, err
	}
	w.groups = make([]group, count)
	for n := range w.groups {
		if err := w.readGroup(n); err != nil {
			return nil, err
		}
	}
	return w, errors.Join(w.release(RootInode), w.release(LostFoundInode))
}

func (w *Writer) desc(n int) []byte { return w.descs[n*descSize : (n+1)*descSize] }

// place reads a block number that a group descriptor has at low and high.
func place(desc []byte, low int) uint64 {
	return uint64(le.Uint32(desc[low:])) | uint64(le.Uint32(desc[low+0x20:]))<<32
}

func (w *Writer) readGroup(n int) error {
	d, g := w.desc(n), &w.groups[n]
	g.blocks, g.inodes = make([]byte, BlockSize), make([]byte, BlockSize)
	flags := le.Uint16(d[0x12:])
	g.dirs = uint32(le.Uint16(d[0x10:])) | uint32(le.Uint16(d[0x30:]))<<16
	var err error
	if flags&blockUninit != 0 {
		w.initial(n)
	} else {
		_, err = w.f.ReadAt(g.blocks, int64(place(d, 0))*BlockSize)
	}
	if flags&inodeUninit != 0 {
		for i := w.inodesPerGroup; i < 8*BlockSize; i++ {
			set(g.inodes, uint64(i))
		}
	} else if err == nil {
		_, err = w.f.ReadAt(g.inodes, int64(place(d, 4))*BlockSize)
	}
	return err
}

// initial makes the bitmap of a group that has none yet: the blocks of the file
// system's own structures.
func (w *Writer) initial(n int) {
	first := uint64(n) * w.perGroup
	mark := func(start, count uint64) {
		for b := max(start, first); b < min(start+count, first+w.perGroup); b++ {
			set(w.groups[n].blocks, b-first)
		}
	}
	if hasBackup(n) {
		table := (uint64(len(w.descs)) + BlockSize - 1) / BlockSize
		mark(first, 1+table+uint64(le.Uint16(w.super[0xCE:])))
	}
	inodeBlocks := uint64(w.inodesPerGroup) * inodeSize / BlockSize
	for g := range w.groups {
		d := w.desc(g)
		mark(place(d, 0), 1)
		mark(place(d, 4), 1)
		mark(place(d, 8), inodeBlocks)
	}
	mark(w.blocks, w.perGroup) // beyond the end
	for b := w.perGroup; b < 8*BlockSize; b++ {
		set(w.groups[n].blocks, b)
	}
}

// hasBackup reports whether a group has a copy of the superblock (sparse_super).
func hasBackup(n int) bool {
	if n <= 1 {
		return true
	}
	for _, base := range []int{3, 5, 7} {
		for p := base; p <= n; p *= base {
			if p == n {
				return true
			}
		}
	}
	return false
}

func set(bitmap []byte, n uint64)      { bitmap[n/8] |= 1 << (n % 8) }
func clear1(bitmap []byte, n uint64)   { bitmap[n/8] &^= 1 << (n % 8) }
func has(bitmap []byte, n uint64) bool { return bitmap[n/8]&(1<<(n%8)) != 0 }

// run is a range of blocks.
type run struct{ start, count uint64 }

// alloc takes up to n consecutive free blocks, after those taken before.
func (w *Writer) alloc(n uint64) (run, error) {
	for w.next < w.blocks {
		g, at := &w.groups[w.next/w.perGroup], w.next%w.perGroup
		if at%8 == 0 && g.blocks[at/8] == 0xFF {
			w.next += 8
			continue
		}
		if has(g.blocks, at) {
			w.next++
			continue
		}
		r := run{start: w.next}
		for r.count < n && at < w.perGroup && w.next < w.blocks && !has(g.blocks, at) {
			set(g.blocks, at)
			r.count, at, w.next = r.count+1, at+1, w.next+1
		}
		g.touched = true
		return r, nil
	}
	return run{}, ErrFull
}

// Inode takes a free inode.
func (w *Writer) Inode() (uint32, error) {
	total := uint32(len(w.groups)) * w.inodesPerGroup
	if w.nextInode > total {
		return 0, ErrFull
	}
	n := w.nextInode
	w.nextInode++
	w.useInode(n)
	return n, nil
}

func (w *Writer) useInode(n uint32) {
	g := &w.groups[(n-1)/w.inodesPerGroup]
	set(g.inodes, uint64((n-1)%w.inodesPerGroup))
	g.touched = true
}

// release frees the blocks of a directory that mke2fs created, which has one extent.
func (w *Writer) release(inode uint32) error {
	raw := make([]byte, inodeSize)
	if _, err := w.f.ReadAt(raw, w.inodeAt(inode)); err != nil {
		return err
	}
	tree := raw[0x28:]
	if le.Uint16(tree) != extentMagic || le.Uint16(tree[6:]) != 0 {
		return fmt.Errorf("mke2fs created inode %d in an unknown format", inode)
	}
	for n := range int(le.Uint16(tree[2:])) {
		e := tree[12*(n+1):]
		start := uint64(le.Uint32(e[8:])) | uint64(le.Uint16(e[6:]))<<32
		for b := start; b < start+uint64(le.Uint16(e[4:])); b++ {
			g := &w.groups[b/w.perGroup]
			clear1(g.blocks, b%w.perGroup)
			g.touched = true
		}
	}
	w.groups[(inode-1)/w.inodesPerGroup].dirs--
	return nil
}

func (w *Writer) inodeAt(n uint32) int64 {
	d := w.desc(int((n - 1) / w.inodesPerGroup))
	return int64(place(d, 8))*BlockSize + int64((n-1)%w.inodesPerGroup)*inodeSize
}

// Close writes the bitmaps and counts, and completes the file system. It does not close
// the file.
func (w *Writer) Close() error {
	var freeBlocks uint64
	var freeInodes uint32
	for n := range w.groups {
		if err := w.closeGroup(n); err != nil {
			return err
		}
		d := w.desc(n)
		freeBlocks += uint64(le.Uint16(d[0xC:])) | uint64(le.Uint16(d[0x2C:]))<<16
		freeInodes += uint32(le.Uint16(d[0xE:])) | uint32(le.Uint16(d[0x2E:]))<<16
	}
	if _, err := w.f.WriteAt(w.descs, BlockSize); err != nil {
		return err
	}
	le.PutUint32(w.super[0xC:], uint32(freeBlocks))
	le.PutUint32(w.super[0x158:], uint32(freeBlocks>>32))
	le.PutUint32(w.super[0x10:], freeInodes)
	le.PutUint32(w.super[0x3FC:], crc(^uint32(0), w.super[:0x3FC]))
	_, err := w.f.WriteAt(w.super, superOffset)
	return err
}

// closeGroup writes a group's bitmaps and counts.
func (w *Writer) closeGroup(n int) error {
	g, d := &w.groups[n], w.desc(n)
	if !g.touched {
		return nil
	}
	two := func(low, high int, v uint32) {
		le.PutUint16(d[low:], uint16(v))
		le.PutUint16(d[high:], uint16(v>>16))
	}
	var free, unused uint32
	last := uint32(0)
	for b := range w.perGroup {
		if !has(g.blocks, b) {
			free++
		}
	}
	for i := range w.inodesPerGroup {
		if has(g.inodes, uint64(i)) {
			last = i + 1
		} else {
			unused++
		}
	}
	two(0xC, 0x2C, free)
	two(0xE, 0x2E, unused)
	two(0x10, 0x30, g.dirs)
	two(0x1C, 0x32, w.inodesPerGroup-last)
	two(0x18, 0x38, crc(w.seed, g.blocks[:w.perGroup/8]))
	two(0x1A, 0x3A, crc(w.seed, g.inodes[:w.inodesPerGroup/8]))
	le.PutUint16(d[0x12:], le.Uint16(d[0x12:])&^(inodeUninit|blockUninit))
	le.PutUint16(d[0x1E:], 0)
	sum := crc(crc(w.seed, le.AppendUint32(nil, uint32(n))), d)
	le.PutUint16(d[0x1E:], uint16(sum))
	if _, err := w.f.WriteAt(g.blocks, int64(place(d, 0))*BlockSize); err != nil {
		return err
	}
	_, err := w.f.WriteAt(g.inodes, int64(place(d, 4))*BlockSize)
	return err
}
