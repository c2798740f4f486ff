package fill

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Entry is a name in a directory.
type Entry struct {
	Name  string
	Inode uint32
	Mode  uint16 // of the inode: its type
}

// types are the types of entries, by the type of a file (EXT4_FT_ in the kernel's
// ext4.h).
var types = map[uint16]byte{
	unix.S_IFREG: 1, unix.S_IFDIR: 2, unix.S_IFCHR: 3, unix.S_IFBLK: 4, unix.S_IFIFO: 5, unix.S_IFSOCK: 6, unix.S_IFLNK: 7,
}

const (
	entryHead = 8
	tailBytes = 12                    // the checksum of a block of entries, which looks like an entry
	dirRoom   = BlockSize - tailBytes // for entries
	leafRoom  = dirRoom * 9 / 10      // used of a block, if there are many: the rest is for later names
)

func entryBytes(name string) int { return (entryHead + len(name) + 3) &^ 3 }

// Directory writes a directory with its entries: with an index, if they do not fit into
// a block. It writes at least that many blocks. It returns how many attributes were
// left out.
func (w *Writer) Directory(number, parent uint32, m Meta, entries []Entry, least int) (int, error) {
	w.useInode(number)
	w.groups[(number-1)/w.inodesPerGroup].dirs++
	i := &inode{Meta: m, number: number, flags: flagExtents}
	subdirs := 0
	room := entryBytes(".") + entryBytes("..")
	for _, e := range entries {
		room += entryBytes(e.Name)
		if e.Mode&unix.S_IFMT == unix.S_IFDIR {
			subdirs++
		}
	}
	if i.links = uint16(2 + subdirs); subdirs+2 >= MostLinks { // dir_nlink: links are not counted any more
		i.links = 1
	}
	var blocks [][]byte
	if room <= dirRoom {
		own := []Entry{{".", number, unix.S_IFDIR}, {"..", parent, unix.S_IFDIR}}
		blocks = [][]byte{w.leaf(number, append(own, entries...))}
	} else {
		i.flags |= flagIndex
		blocks = w.index(number, parent, entries)
	}
	for len(blocks) < least {
		blocks = append(blocks, w.leaf(number, nil))
	}
	t := &tree{w: w, i: i}
	i.size = int64(len(blocks)) * BlockSize
	for n, b := range blocks {
		if err := t.write(uint32(n), b); err != nil {
			return 0, err
		}
	}
	return t.end()
}

// leaf makes a block of entries.
func (w *Writer) leaf(number uint32, entries []Entry) []byte {
	b := make([]byte, BlockSize)
	at, last := 0, 0
	for _, e := range entries {
		n := entryBytes(e.Name)
		le.PutUint32(b[at:], e.Inode)
		le.PutUint16(b[at+4:], uint16(n))
		b[at+6], b[at+7] = byte(len(e.Name)), types[e.Mode&unix.S_IFMT]
		copy(b[at+entryHead:], e.Name)
		last, at = at, at+n
	}
	le.PutUint16(b[last+4:], uint16(dirRoom-last)) // the last entry takes the rest
	tail := b[dirRoom:]
	le.PutUint16(tail[4:], tailBytes)
	tail[7] = 0xDE
	le.PutUint32(tail[8:], crc(w.seedOf(number), b[:dirRoom]))
	return b
}

// hashed is an entry with its hash.
type hashed struct {
	Entry
	hash uint32
}

// slot is an entry of an index: the first hash of a block, and the block.
type slot struct{ hash, block uint32 }

const (
	rootHead = 32 // . and .., and the header of the index
	nodeHead = 8  // an empty entry that covers the whole block
	slotSize = 8
	inRoot   = (BlockSize-rootHead)/slotSize - 1 // the last slot is for the checksum
	inNode   = (BlockSize-nodeHead)/slotSize - 1
)

// index builds the blocks of a directory of many entries: the index's root, its nodes
// if the root is too small, and the blocks of entries.
func (w *Writer) index(number, parent uint32, entries []Entry) [][]byte {
	all := make([]hashed, len(entries))
	for n, e := range entries {
		all[n] = hashed{e, w.hash(e.Name)}
	}
	slices.SortFunc(all, func(a, b hashed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), strings.Compare(a.Name, b.Name)) })
	var leaves [][]byte
	var slots []slot
	for n := 0; n < len(all); {
		var these []Entry
		first, room := n, 0
		for n < len(all) && room+entryBytes(all[n].Name) <= leafRoom {
			room += entryBytes(all[n].Name)
			these = append(these, all[n].Entry)
			n++
		}
		s := slot{hash: all[first].hash}
		if first > 0 && all[first-1].hash == s.hash {
			s.hash |= 1 // names with the same hash continue here
		}
		leaves, slots = append(leaves, w.leaf(number, these)), append(slots, s)
	}
	nodes := 0
	if len(slots) > inRoot {
		nodes = (len(slots) + inNode - 1) / inNode
	}
	for n := range slots {
		slots[n].block = uint32(1 + nodes + n)
	}
	blocks := make([][]byte, 1, 1+nodes+len(leaves))
	top := slots
	if nodes > 0 {
		top = nil
		for n := range nodes {
			part := slots[n*inNode : min((n+1)*inNode, len(slots))]
			top = append(top, slot{part[0].hash, uint32(1 + n)})
			b := make([]byte, BlockSize)
			le.PutUint16(b[4:], BlockSize)
			w.slots(number, b, nodeHead, inNode, part)
			blocks = append(blocks, b)
		}
	}
	root := make([]byte, BlockSize)
	copy(root, w.leaf(number, []Entry{{".", number, unix.S_IFDIR}, {"..", parent, unix.S_IFDIR}})[:24])
	le.PutUint16(root[12+4:], BlockSize-12)
	root[28], root[29] = hashHalfMD4, 8
	if nodes > 0 {
		root[30] = 1
	}
	w.slots(number, root, rootHead, inRoot, top)
	blocks[0] = root
	return append(blocks, leaves...)
}

// slots writes an index's entries, and its checksum. The first entry has no hash: in
// its place is the number of entries, and their maximum.
func (w *Writer) slots(number uint32, b []byte, head, most int, slots []slot) {
	for n, s := range slots {
		le.PutUint32(b[head+n*slotSize:], s.hash)
		le.PutUint32(b[head+n*slotSize+4:], s.block)
	}
	le.PutUint16(b[head:], uint16(most))
	le.PutUint16(b[head+2:], uint16(len(slots)))
	sum := crc(w.seedOf(number), b[:head+len(slots)*slotSize])
	sum = crc(sum, make([]byte, 8)) // the place of the checksum itself
	le.PutUint32(b[head+most*slotSize+4:], sum)
}
