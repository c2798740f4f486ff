package filecopy

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// xattrRecord is the prefix of an extended attribute in a PAX header.
const xattrRecord = "SCHILY.xattr."

// PackTar writes file, and everything below it if it is a directory, to w as a tar
// stream whose names start with name. A symbolic link given as file is followed; links
// below are packed as links, files with holes as sparse files.
func PackTar(w io.Writer, file, name string, warn func(name, what string)) error {
	p := &packer{w: w, tar: tar.NewWriter(w)}
	p.walk = &walk{from: everywhere{}, name: name, warn: warn, visit: p.entry}
	if err := p.walk.do(file, false); err != nil {
		return err
	}
	if err := p.tar.Close(); err != nil {
		return err
	}
	if p.walk.denied > 0 {
		return p.walk.unread()
	}
	return nil
}

type packer struct {
	w    io.Writer
	tar  *tar.Writer
	walk *walk
}

func (p *packer) entry(file string, e Entry) error {
	h := &tar.Header{
		Name: e.Name, Linkname: e.Target, Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, ModTime: e.MTime,
		Format: tar.FormatPAX, PAXRecords: map[string]string{},
	}
	for name, value := range e.Xattrs {
		h.PAXRecords[xattrRecord+name] = value
	}
	switch e.Type {
	case File:
		return p.file(file, e, h)
	case Dir:
		h.Typeflag, h.Name = tar.TypeDir, e.Name+"/"
	case Symlink:
		h.Typeflag = tar.TypeSymlink
	case Link:
		h = &tar.Header{Typeflag: tar.TypeLink, Name: e.Name, Linkname: e.Target, Format: tar.FormatPAX}
	}
	return p.tar.WriteHeader(h)
}

func (p *packer) file(file string, e Entry, h *tar.Header) error {
	f, st, err := openSource(p.walk.from, file)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Typeflag, h.Size, h.ModTime = tar.TypeReg, st.Size, time.Unix(st.Mtim.Sec, st.Mtim.Nsec)
	if st.Blocks*512 < st.Size {
		extents, err := holes(f, st)
		if err != nil {
			return err
		}
		if extents != nil {
			return p.sparse(f, h, extents)
		}
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(p.tar, io.LimitReader(f, st.Size))
	if err == nil && n < st.Size {
		err = fmt.Errorf("%s: %w", Quote(file), errShorter)
	}
	if err == nil && changed(f, st) {
		p.walk.warn(file, "changed while it was read: the copy may be inconsistent")
	}
	return err
}

// maxExtents is how many extents a sparse file may have to be packed as one.
const maxExtents = 1 << 16

// holes returns the extents of a file that has holes, or nil.
func holes(f *os.File, st *syscall.Stat_t) ([]extent, error) {
	found := []extent{}
	for at := int64(0); at < st.Size; {
		e, ok, err := nextExtent(f, at, st.Size)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if found = append(found, e); len(found) > maxExtents {
			return nil, nil
		}
		at = e.to
	}
	if len(found) == 1 && found[0] == (extent{0, st.Size}) {
		return nil, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return found, nil
}
