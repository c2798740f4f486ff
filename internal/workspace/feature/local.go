package feature

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"banger/internal/guest/filecopy"
	"banger/internal/host/fsx"
)

// packLocal writes a directory of the workspace as a feature to w, and returns its metadata. It does
// not leave the workspace, whatever is linked there, and what it writes depends on names and
// contents alone.
func packLocal(top, local string, w io.Writer, dir string) ([]byte, error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, fsx.Cause(err)
	}
	defer root.Close()
	sub, err := root.OpenRoot(local)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no directory %s", filecopy.Quote(local))
	}
	if err != nil {
		return nil, fsx.Cause(err)
	}
	defer sub.Close()
	p, err := newPacker(w, dir)
	if err != nil {
		return nil, err
	}
	if err := fs.WalkDir(sub.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fsx.Cause(err)
		}
		return p.addLocal(sub, name, d)
	}); err != nil {
		return nil, err
	}
	return p.metadata, p.close()
}

// addLocal adds a file of a directory. What is neither a file nor a link is refused, and never opened.
func (p *packer) addLocal(root *os.Root, name string, d fs.DirEntry) error {
	h := &tar.Header{Name: name}
	switch d.Type() {
	case fs.ModeDir:
		h.Typeflag = tar.TypeDir
		return p.add(h, nil)
	case fs.ModeSymlink:
		target, err := root.Readlink(name)
		if err != nil {
			return fsx.Cause(err)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, path.Clean(target)
		return p.add(h, nil)
	case 0:
	default:
		return fmt.Errorf("%s is neither a file nor a directory nor a link", filecopy.Quote(name))
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fsx.Cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return fsx.Cause(err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", filecopy.Quote(name))
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	err = p.add(h, f)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s became shorter while it was read", filecopy.Quote(name))
	}
	return err
}
