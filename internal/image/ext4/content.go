package ext4

import (
	"bytes"
	"io"
)

// piece is how many bytes are read at once.
const piece = 256 << 10

var zeros [piece]byte

// Copy writes the content of a file to w: exactly its size in bytes, holes as zeros.
func (i *Inode) Copy(w io.Writer) error {
	if i.flags&flagInline != 0 {
		data, err := i.inline()
		if err != nil {
			return err
		}
		if int64(len(data)) < i.Size {
			return damaged("a file of %d bytes has %d", i.Size, len(data))
		}
		_, err = w.Write(data[:i.Size])
		return err
	}
	c := copier{fs: i.fs, w: w, size: i.Size}
	if err := i.eachRun(i.blockCount(), c.run); err != nil {
		return err
	}
	return c.zeros(i.Size)
}

// blockCount returns how many blocks the inode's size takes.
func (i *Inode) blockCount() uint64 { return uint64((i.Size + i.fs.block - 1) / i.fs.block) }

type copier struct {
	fs       *FS
	w        io.Writer
	at, size int64
	buffer   []byte
}

// zeros fills a hole up to an offset.
func (c *copier) zeros(to int64) error {
	for c.at < to {
		n, err := c.w.Write(zeros[:min(to-c.at, piece)])
		if err != nil {
			return err
		}
		c.at += int64(n)
	}
	return nil
}

func (c *copier) run(r run) error {
	if err := c.zeros(int64(r.logical) * c.fs.block); err != nil {
		return err
	}
	if c.buffer == nil {
		c.buffer = make([]byte, min(piece, c.size))
	}
	from := int64(r.physical) * c.fs.block
	end := min(c.size, c.at+int64(r.count)*c.fs.block)
	for c.at < end {
		p := c.buffer[:min(int64(len(c.buffer)), end-c.at)]
		if err := c.fs.readAt(p, from); err != nil {
			return err
		}
		if _, err := c.w.Write(p); err != nil {
			return err
		}
		c.at += int64(len(p))
		from += int64(len(p))
	}
	return nil
}

// inline returns the content that a small file or directory stores in its inode: in
// place of the pointers, and the rest as an attribute.
func (i *Inode) inline() ([]byte, error) {
	if !i.fs.has(incompatInline) {
		return nil, damaged("inode %d has inline content, which is not allowed for it", i.Number)
	}
	data := bytes.Clone(i.raw[atBlocks:endBlock])
	all, err := i.attributes()
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.Name == inlineName {
			data = append(data, a.Value...)
		}
	}
	return data, nil
}
