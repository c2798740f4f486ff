package kernel

import (
	"fmt"
	"io"
)

// cpioWriter writes an archive in the "newc" format of initramfs images
// (Documentation/driver-api/early-userspace/buffer-format.rst). All times are zero and
// inodes are numbered in order, so that the same content gives the same bytes.
type cpioWriter struct {
	w     io.Writer
	inode uint32
	err   error
}

// File types and modes of the entries (inode(7)).
const (
	modeDir  = 0o040755
	modeFile = 0o100644
	modeExec = 0o100755
	modeTTY  = 0o020600 // a character device
)

func (c *cpioWriter) dir(name string)                         { c.entry(name, modeDir, 0, 0, nil) }
func (c *cpioWriter) file(name string, mode uint32, b []byte) { c.entry(name, mode, 0, 0, b) }
func (c *cpioWriter) device(name string, major, minor uint32) {
	c.entry(name, modeTTY, major, minor, nil)
}

func (c *cpioWriter) entry(name string, mode, major, minor uint32, data []byte) {
	links := uint32(1)
	if mode == modeDir {
		links = 2
	}
	c.inode++
	c.header(name, c.inode, mode, links, major, minor, data)
}

// header writes one entry: 13 numbers of 8 hexadecimal digits after the magic,
// then the name with its NUL and the data, each padded to 4 bytes.
func (c *cpioWriter) header(name string, inode, mode, links, major, minor uint32, data []byte) {
	if c.err != nil {
		return
	}
	const uid, gid, mtime, devMajor, devMinor, check = 0, 0, 0, 0, 0, 0
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		inode, mode, uid, gid, links, mtime, len(data), devMajor, devMinor, major, minor, len(name)+1, check, name)
	c.write([]byte(head))
	c.pad(len(head))
	c.write(data)
	c.pad(len(data))
}

func (c *cpioWriter) write(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
	}
}

func (c *cpioWriter) pad(n int) { c.write(make([]byte, (4-n%4)%4)) }

// close ends the archive and returns the first error.
func (c *cpioWriter) close() error {
	c.header("TRAILER!!!", 0, 0, 1, 0, 0, nil)
	return c.err
}
