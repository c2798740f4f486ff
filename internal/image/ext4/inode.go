package ext4

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// The flags of inodes that change how they are read.
const (
	flagEncrypted = 0x800
	flagExtents   = 0x80000
	flagInline    = 0x10000000
)

// longestTarget is the longest target of a symbolic link (PATH_MAX of limits.h).
const longestTarget = 4095

// Inode is a file of any type.
type Inode struct {
	Number   uint32
	Mode     uint16 // as stat(2) returns it
	UID, GID uint32
	Links    uint16
	Size     int64
	ModTime  time.Time

	fs    *FS
	raw   []byte // as it is on disk
	flags uint32
}

// The offsets of an inode's parts.
const (
	atBlocks = 0x28 // the location of its content, 60 bytes
	endBlock = atBlocks + 60
	atExtra  = 0x80 // how many bytes follow the first 128
)

// Inode reads an inode, which must be in use.
func (fs *FS) Inode(number uint32) (*Inode, error) {
	if number == 0 || number > fs.inodes {
		return nil, damaged("it points to inode %d of %d", number, fs.inodes)
	}
	group, index := (number-1)/fs.perGroup, (number-1)%fs.perGroup
	desc := make([]byte, fs.descSize)
	if err := fs.readAt(desc, (superOffset/fs.block+1)*fs.block+int64(group)*fs.descSize); err != nil {
		return nil, err
	}
	table := uint64(le.Uint32(desc[0x8:]))
	if fs.descSize >= 64 {
		table |= uint64(le.Uint32(desc[0x28:])) << 32
	}
	if err := fs.inside(table, 1); err != nil {
		return nil, err
	}
	raw := make([]byte, fs.inodeSize)
	if err := fs.readAt(raw, int64(table)*fs.block+int64(index)*fs.inodeSize); err != nil {
		return nil, err
	}
	return fs.decode(number, raw)
}

func (fs *FS) decode(number uint32, b []byte) (*Inode, error) {
	i := &Inode{
		Number: number, Mode: le.Uint16(b), Links: le.Uint16(b[0x1A:]), flags: le.Uint32(b[0x20:]),
		UID:  uint32(le.Uint16(b[0x2:])) | uint32(le.Uint16(b[0x78:]))<<16,
		GID:  uint32(le.Uint16(b[0x18:])) | uint32(le.Uint16(b[0x7A:]))<<16,
		Size: int64(le.Uint32(b[0x4:])), fs: fs, raw: b,
	}
	if i.Is(unix.S_IFREG) || i.Is(unix.S_IFDIR) && fs.has(incompatLargeDir) {
		i.Size |= int64(le.Uint32(b[0x6C:])) << 32
	}
	i.ModTime = time.Unix(i.seconds(0x10, 0x88))
	switch {
	case i.Links == 0:
		return nil, damaged("inode %d has a name, but is not in use", number)
	case i.Size < 0 || i.Size > (1<<32)*fs.block: // numbers of blocks within a file have 32 bits
		return nil, damaged("inode %d has an invalid size: %d", number, i.Size)
	case i.flags&flagEncrypted != 0:
		return nil, api.Errorf(api.KindUnsupported, "it is encrypted")
	}
	return i, nil
}

// Is reports whether the inode has a type, such as unix.S_IFDIR.
func (i *Inode) Is(kind uint16) bool { return i.Mode&unix.S_IFMT == kind }

// extra returns how many bytes after the first 128 are in use.
func (i *Inode) extra() int {
	if len(i.raw) <= firstSize {
		return 0
	}
	return int(le.Uint16(i.raw[atExtra:]))
}

// seconds decodes a time: 32 signed bits and, if there is room, two more and the
// nanoseconds.
func (i *Inode) seconds(low, high int) (sec, nsec int64) {
	sec = int64(int32(le.Uint32(i.raw[low:])))
	if i.extra() >= high+4-firstSize {
		more := le.Uint32(i.raw[high:])
		sec += int64(more&3) << 32
		nsec = int64(more >> 2)
	}
	return sec, nsec
}

// Device returns the numbers of a device, in the old format if they are small
// (new_decode_dev in the kernel's kdev_t.h).
func (i *Inode) Device() (major, minor uint32) {
	if old := le.Uint32(i.raw[atBlocks:]); old != 0 {
		return old >> 8 & 0xFF, old & 0xFF
	}
	dev := le.Uint32(i.raw[atBlocks+4:])
	return dev >> 8 & 0xFFF, dev&0xFF | dev>>12&0xFFF00
}

// Target returns what a symbolic link points to.
func (i *Inode) Target() (string, error) {
	var target []byte
	switch {
	case i.Size == 0 || i.Size > longestTarget:
		return "", damaged("the target of a symbolic link has %d bytes", i.Size)
	case i.flags&(flagInline|flagExtents) == 0 && i.Size < endBlock-atBlocks:
		target = i.raw[atBlocks : atBlocks+i.Size]
	default:
		var b bytes.Buffer
		if err := i.Copy(&b); err != nil {
			return "", err
		}
		target = b.Bytes()
	}
	if bytes.IndexByte(target, 0) >= 0 {
		return "", damaged("the target of a symbolic link contains a NUL byte")
	}
	return string(target), nil
}
