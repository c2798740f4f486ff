package fill

import (
	"cmp"
	"slices"
	"strings"

	"banger/internal/image/ext4"
)

const (
	attrMagic  = 0xEA020000
	attrHead   = 16 // of an entry, before its name
	attrBlock  = 32 // the header of a block
	attrInline = inodeSize - 128 - extraSize
)

// attr is an attribute as it is on disk.
type attr struct {
	index byte
	name  string
	value []byte
}

func (a attr) entry() int { return (attrHead + len(a.name) + 3) &^ 3 }
func (a attr) data() int  { return (len(a.value) + 3) &^ 3 }

// indexes are the prefixes of attributes' names (EXT4_XATTR_INDEX_ in the kernel's
// xattr.h).
var indexes = []struct {
	prefix string
	index  byte
	whole  bool
}{
	{"user.", 1, false}, {"system.posix_acl_access", 2, true}, {"system.posix_acl_default", 3, true},
	{"trusted.", 4, false}, {"security.", 6, false}, {"system.", 7, false},
}

// onDisk converts an attribute to its form on disk; it returns false if that is not
// possible.
func onDisk(a ext4.Attr) (attr, bool) {
	for _, i := range indexes {
		rest, ok := strings.CutPrefix(a.Name, i.prefix)
		if !ok || i.whole != (rest == "") {
			continue
		}
		value := a.Value
		if i.whole {
			if value, ok = acl(a.Value); !ok {
				return attr{}, false
			}
		}
		return attr{i.index, rest, value}, len(rest) <= 255
	}
	return attr{}, false
}

// acl converts an access control list from the format of getxattr(2)
// (posix_acl_xattr.h) to that on disk, where only entries of users and groups have an
// id.
func acl(value []byte) ([]byte, bool) {
	if len(value) < 4 || le.Uint32(value) != 2 || (len(value)-4)%8 != 0 {
		return nil, false
	}
	out := le.AppendUint32(nil, 1)
	for e := value[4:]; len(e) > 0; e = e[8:] {
		n := 4
		if tag := le.Uint16(e); tag == 0x02 || tag == 0x08 { // ACL_USER, ACL_GROUP
			n = 8
		}
		out = append(out, e[:n]...)
	}
	return out, true
}

// putAttrs writes attributes after the inode, and those that do not fit there into a
// block. It returns how many do not fit there either.
func (w *Writer) putAttrs(i *inode) (lost int, err error) {
	var inside, outside []attr
	roomIn, roomOut := attrInline-4-4, BlockSize-attrBlock-4 // the magic number, and four zeros at the end
	var all []attr
	for _, a := range i.Attrs {
		d, ok := onDisk(a)
		if !ok {
			lost++
			continue
		}
		all = append(all, d)
	}
	// The entries of a block have to be in this order.
	slices.SortFunc(all, func(a, b attr) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	for _, a := range all {
		switch n := a.entry() + a.data(); {
		case n <= roomIn:
			inside, roomIn = append(inside, a), roomIn-n
		case n <= roomOut:
			outside, roomOut = append(outside, a), roomOut-n
		default:
			lost++
		}
	}
	if len(inside) > 0 {
		i.attrs = make([]byte, attrInline)
		le.PutUint32(i.attrs, attrMagic)
		putEntries(i.attrs[4:], i.attrs[4:], inside, false)
	}
	if len(outside) == 0 {
		return lost, nil
	}
	r, err := w.alloc(1)
	if err != nil {
		return lost, err
	}
	i.acl, i.blocks = r.start, i.blocks+1
	b := make([]byte, BlockSize)
	le.PutUint32(b, attrMagic)
	le.PutUint32(b[4:], 1) // inode that has it
	le.PutUint32(b[8:], 1) // block
	putEntries(b[attrBlock:], b, outside, true)
	sum := crc(w.seed, le.AppendUint64(nil, r.start))
	le.PutUint32(b[16:], crc(sum, b))
	_, err = w.f.WriteAt(b, int64(r.start)*BlockSize)
	return lost, err
}

// putEntries writes entries, and their values at the end of space.
func putEntries(entries, space []byte, all []attr, hashed bool) {
	end := len(space)
	for _, a := range all {
		end -= a.data()
		copy(space[end:], a.value)
		entries[0], entries[1] = byte(len(a.name)), a.index
		if len(a.value) > 0 {
			le.PutUint16(entries[2:], uint16(end))
		}
		le.PutUint32(entries[8:], uint32(len(a.value)))
		if hashed {
			le.PutUint32(entries[12:], a.hash())
		}
		copy(entries[attrHead:], a.name)
		entries = entries[a.entry():]
	}
}

// hash returns the hash of an entry in a block (ext4_xattr_hash_entry in the kernel's
// xattr.c).
func (a attr) hash() uint32 {
	var h uint32
	for _, c := range []byte(a.name) {
		h = h<<5 ^ h>>27 ^ uint32(c)
	}
	padded := make([]byte, a.data())
	copy(padded, a.value)
	for ; len(padded) > 0; padded = padded[4:] {
		h = h<<16 ^ h>>16 ^ le.Uint32(padded)
	}
	return h
}
