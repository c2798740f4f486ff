// Package tarcopy packs a file or directory into a tar stream and unpacks one
// beneath a directory that nothing in the stream can leave. Both sides of
// `banger vm cp` use it.
package tarcopy

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// Pack writes path, and everything below it where it is a directory, to w as a tar
// stream whose names begin with name. A symbolic link given as path is packed as
// what it points to; links below are packed as links. What is no file, directory
// or link is passed over and named to skipped.
func Pack(w io.Writer, file, name string, skipped func(path, what string)) error {
	resolved, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	p := &packer{tar: tar.NewWriter(w), root: resolved, name: name, links: map[inode]string{}, skipped: skipped}
	if err := filepath.WalkDir(resolved, p.visit); err != nil {
		return err
	}
	return p.tar.Close()
}

type inode struct{ dev, ino uint64 }

type packer struct {
	tar     *tar.Writer
	root    string
	name    string
	links   map[inode]string // names of files with several links
	skipped func(path, what string)
}

func (p *packer) visit(file string, d fs.DirEntry, err error) error {
	if err != nil {
		return p.vanished(file, err)
	}
	info, err := d.Info()
	if err != nil {
		return p.vanished(file, err)
	}
	rel, err := filepath.Rel(p.root, file)
	if err != nil {
		return err
	}
	name := path.Join(p.name, filepath.ToSlash(rel))
	switch {
	case info.Mode().IsRegular():
		return p.file(file, name, info)
	case info.IsDir():
		return p.header(name+"/", "", info)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(file)
		if err != nil {
			return p.vanished(file, err)
		}
		return p.header(name, target, info)
	}
	p.skipped(file, describe(info.Mode()))
	return nil
}

// vanished passes over what was removed while packing.
func (p *packer) vanished(file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) && file != p.root {
		return nil
	}
	return err
}

func (p *packer) header(name, target string, info fs.FileInfo) error {
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname, h.Format = name, "", "", tar.FormatPAX
	return p.tar.WriteHeader(h)
}

func (p *packer) file(file, name string, info fs.FileInfo) error {
	if first, ok := p.linked(name, info); ok {
		return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: first, Format: tar.FormatPAX})
	}
	// A file may be exchanged for a pipe at any time: opening one must not hang.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return p.vanished(file, err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if err := p.header(name, "", info); err != nil {
		return err
	}
	n, err := io.Copy(p.tar, io.LimitReader(f, info.Size()))
	if err == nil && n < info.Size() {
		err = fmt.Errorf("%s became shorter while it was read", file)
	}
	return err
}

// linked returns under which name a file with several links was packed already.
func (p *packer) linked(name string, info fs.FileInfo) (string, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink < 2 {
		return "", false
	}
	key := inode{uint64(st.Dev), st.Ino}
	first, ok := p.links[key]
	if !ok {
		p.links[key] = name
	}
	return first, ok
}

func describe(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no ordinary file"
}
