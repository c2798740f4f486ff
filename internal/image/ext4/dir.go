package ext4

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// Entry is a name in a directory.
type Entry struct {
	Name  string
	Inode uint32
}

// mostDirectory bounds the size of a directory in bytes: a million names of maximal
// length take a quarter of it.
const mostDirectory = 1 << 30

// Entries returns the content of a directory, except "." and "..", sorted by name. It
// calls take before it stores a name; take may refuse.
func (i *Inode) Entries(take func(Entry) error) ([]Entry, error) {
	d := &directory{fs: i.fs, take: take}
	if err := i.eachDirBlock(d.block); err != nil {
		return nil, err
	}
	slices.SortFunc(d.entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	for n := 1; n < len(d.entries); n++ {
		if d.entries[n].Name == d.entries[n-1].Name {
			return nil, damaged("a directory contains %.200q twice", d.entries[n].Name)
		}
	}
	return d.entries, nil
}

// eachDirBlock calls do with the blocks of entries. A directory with an index (htree)
// is read like any other: the blocks of the index look like empty ones.
func (i *Inode) eachDirBlock(do func([]byte) error) error {
	if i.flags&flagInline != 0 {
		data, err := i.inline()
		if err != nil {
			return err
		}
		const parent, inPointers = 4, endBlock - atBlocks // "." and ".." have no entries here
		if err := do(data[parent:inPointers]); err != nil {
			return err
		}
		return do(data[inPointers:])
	}
	if i.Size > mostDirectory || i.Size%i.fs.block != 0 {
		return damaged("a directory has an invalid size: %d", i.Size)
	}
	var mapped int64
	err := i.eachRun(i.blockCount(), func(r run) error {
		for n := range r.count {
			block, err := i.fs.readBlock(r.physical + n)
			if err != nil {
				return err
			}
			if err := do(block); err != nil {
				return err
			}
			mapped += i.fs.block
		}
		return nil
	})
	if err == nil && mapped < i.Size {
		return damaged("a directory has holes")
	}
	return err
}

// directory collects entries.
type directory struct {
	fs      *FS
	take    func(Entry) error
	entries []Entry
}

const entryHead = 8

func (d *directory) block(b []byte) error {
	for len(b) > 0 {
		if len(b) < entryHead {
			return damaged("an entry of a directory is cut off")
		}
		length := entryLength(le.Uint16(b[4:]), d.fs.block)
		name := int(b[6])
		if !d.fs.has(incompatFiletype) {
			name = int(le.Uint16(b[6:]))
		}
		inode := le.Uint32(b)
		switch {
		case length < entryHead || length%4 != 0 || length > len(b):
			return damaged("an entry of a directory has an invalid length: %d", length)
		case inode == 0: // unused, an index or a checksum
		case entryHead+name > length:
			return damaged("an entry of a directory has an invalid name")
		default:
			if err := d.add(Entry{Name: string(b[entryHead : entryHead+name]), Inode: inode}); err != nil {
				return err
			}
		}
		b = b[length:]
	}
	return nil
}

// entryLength decodes a length, which has too few bits for blocks of 64 KiB
// (ext4_rec_len_from_disk in the kernel's ext4.h).
func entryLength(n uint16, block int64) int {
	if block < 1<<16 {
		return int(n)
	}
	if n == 0 || n == 1<<16-1 {
		return int(block)
	}
	return int(n&^3) | int(n&3)<<16
}

func (d *directory) add(e Entry) error {
	switch {
	case e.Name == "." || e.Name == "..":
		return nil
	case e.Name == "" || len(e.Name) > 255 || strings.ContainsAny(e.Name, "/\x00"):
		return damaged("a directory contains the invalid name %.300q", e.Name)
	}
	if err := d.take(e); err != nil {
		return err
	}
	d.entries = append(d.entries, e)
	return nil
}

// Empty reports whether a directory has no entries.
func (i *Inode) Empty() (bool, error) {
	_, err := i.Entries(func(Entry) error { return io.EOF })
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}
