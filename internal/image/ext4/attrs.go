package ext4

import (
	"bytes"
	"slices"
	"strings"
)

// Attr is an extended attribute, as getxattr(2) returns it.
type Attr struct {
	Name  string
	Value []byte
}

const (
	attrMagic = 0xEA020000
	attrHead  = 16 // of an entry, before its name
	blockHead = 32 // of a block of attributes

	aclAccess, aclDefault = "system.posix_acl_access", "system.posix_acl_default"

	// inlineName is the name of the attribute that stores content of the file.
	inlineName = "system.data"
)

// attrPrefixes are the prefixes of names, by index (EXT4_XATTR_INDEX_ in the kernel's
// xattr.h).
var attrPrefixes = map[byte]string{
	1: "user.", 2: aclAccess, 3: aclDefault, 4: "trusted.", 6: "security.", 7: "system.",
}

// Attrs returns the extended attributes, sorted by name.
func (i *Inode) Attrs() ([]Attr, error) {
	all, err := i.attributes()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a Attr) bool { return a.Name == inlineName })
	slices.SortFunc(all, func(a, b Attr) int { return strings.Compare(a.Name, b.Name) })
	for n := range all {
		if n > 0 && all[n].Name == all[n-1].Name {
			return nil, damaged("the attribute %.300q occurs twice", all[n].Name)
		}
		if all[n].Name == aclAccess || all[n].Name == aclDefault {
			if all[n].Value, err = acl(all[n].Value); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// attributes reads the attributes after the inode and those in a block.
func (i *Inode) attributes() ([]Attr, error) {
	var all []Attr
	if start := firstSize + i.extra(); i.extra() > 0 && start+4 <= len(i.raw) && le.Uint32(i.raw[start:]) == attrMagic {
		space := i.raw[start+4:]
		found, err := attrsIn(space, space)
		if err != nil {
			return nil, err
		}
		all = found
	}
	block := uint64(le.Uint32(i.raw[0x68:])) | uint64(le.Uint16(i.raw[0x76:]))<<32
	if block == 0 {
		return all, nil
	}
	b, err := i.fs.readBlock(block)
	if err != nil {
		return nil, err
	}
	if le.Uint32(b) != attrMagic || le.Uint32(b[8:]) != 1 {
		return nil, damaged("a block of attributes has no valid header")
	}
	found, err := attrsIn(b[blockHead:], b)
	return append(all, found...), err
}

// attrsIn reads entries up to the four zeros that end them. Their values are in space.
func attrsIn(entries, space []byte) ([]Attr, error) {
	var all []Attr
	var total int // size of the values, which do not overlap
	for {
		if len(entries) < 4 || le.Uint32(entries) == 0 {
			return all, nil
		}
		if len(entries) < attrHead || attrHead+int(entries[0]) > len(entries) {
			return nil, damaged("an attribute is cut off")
		}
		a, err := attrOf(entries, space)
		if err != nil {
			return nil, err
		}
		if total += len(a.Value); total > len(space) {
			return nil, damaged("its attributes are larger than their space")
		}
		all = append(all, a)
		next := (attrHead + int(entries[0]) + 3) &^ 3
		entries = entries[min(next, len(entries)):]
	}
}

func attrOf(entry, space []byte) (Attr, error) {
	prefix, known := attrPrefixes[entry[1]]
	name := prefix + string(entry[attrHead:attrHead+int(entry[0])])
	offset, size := int64(le.Uint16(entry[2:])), int64(le.Uint32(entry[8:]))
	switch {
	case !known || strings.Contains(name, "\x00"):
		return Attr{}, damaged("an attribute has an invalid name, %d %.300q", entry[1], name)
	case le.Uint32(entry[4:]) != 0:
		return Attr{}, damaged("the value of attribute %.300q is not in its block", name)
	case size > 0 && offset+size > int64(len(space)):
		return Attr{}, damaged("the value of attribute %.300q is out of bounds", name)
	case size == 0:
		return Attr{Name: name}, nil
	}
	return Attr{Name: name, Value: bytes.Clone(space[offset : offset+size])}, nil
}

// acl converts an access control list from its format on disk (ext4_acl_entry in the
// kernel's acl.h) to that of getxattr(2) (posix_acl_xattr.h), in which every entry has
// an id.
func acl(disk []byte) ([]byte, error) {
	const diskVersion, version, noID = 1, 2, 0xFFFFFFFF
	if len(disk) < 4 || le.Uint32(disk) != diskVersion {
		return nil, damaged("an access control list has no valid header")
	}
	out := le.AppendUint32(nil, version)
	for rest := disk[4:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, damaged("an access control list is cut off")
		}
		id, length := uint32(noID), 4
		if tag := le.Uint16(rest); tag == 0x02 || tag == 0x08 { // ACL_USER, ACL_GROUP
			if length = 8; len(rest) < length {
				return nil, damaged("an access control list is cut off")
			}
			id = le.Uint32(rest[4:])
		}
		out = le.AppendUint32(append(out, rest[:4]...), id)
		rest = rest[length:]
	}
	return out, nil
}
