package export

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/image/ext4"
	"banger/internal/image/oci"
	"banger/internal/image/tarball"
)

// treeWriter writes a file system's content as a tar archive, sorted, so that the
// result is always the same. It has the same limits as import.
type treeWriter struct {
	ctx     context.Context
	fs      *ext4.FS
	archive *tar.Writer
	layer   bool // some names have a special meaning in a layer
	limits  tarball.Limits

	entries int
	bytes   int64
	held    int64           // bytes of the names in memory
	dirs    map[uint32]bool // the directories so far; none may occur twice
	links   map[uint32]link // files with more names to come
	leftOut int
}

// link is the first name of a file with several names.
type link struct {
	name string
	more uint16 // names to come
}

const (
	// mostHeld bounds the memory for names in bytes: of the directories above the
	// current entry, and of files with several names.
	mostHeld = 256 << 20
	// nameCost is the approximate cost of a name in bytes, besides its own length.
	nameCost = 64
)

// writeTree writes a whole file system to w, and returns how many sockets it left out.
func writeTree(ctx context.Context, w io.Writer, fs *ext4.FS, layer bool, leftOut *int) error {
	t := &treeWriter{
		ctx: ctx, fs: fs, archive: tar.NewWriter(w), layer: layer, limits: tarball.DefaultLimits,
		dirs: map[uint32]bool{}, links: map[uint32]link{},
	}
	if err := t.entry("./", ext4.Root, 0); err != nil {
		return err
	}
	*leftOut = t.leftOut
	return t.archive.Close()
}

// entry writes an entry and everything below it.
func (t *treeWriter) entry(name string, number uint32, depth int) error {
	if err := context.Cause(t.ctx); err != nil {
		return err
	}
	i, err := t.fs.Inode(number)
	if err == nil && i.Is(unix.S_IFDIR) {
		return t.directory(name, i, depth)
	}
	if err == nil {
		err = t.file(name, i)
	}
	return unreadable(name, err)
}

func unreadable(name string, err error) error {
	if err == nil {
		return nil
	}
	return api.Errorf(api.KindOf(err), "cannot read %.200q: %w", name, err)
}

// directory writes a directory and its content.
func (t *treeWriter) directory(name string, i *ext4.Inode, depth int) error {
	before := t.held
	entries, err := t.list(name, i, depth)
	if err != nil {
		return unreadable(name, err)
	}
	taken := t.held - before
	prefix := strings.TrimSuffix(name, "/") + "/"
	if name == "./" {
		prefix = ""
	}
	for _, e := range entries {
		if depth == 0 && e.Name == "lost+found" && t.isEmpty(e.Inode) {
			continue // mke2fs makes it
		}
		if err := t.entry(prefix+e.Name, e.Inode, depth+1); err != nil {
			return err
		}
	}
	t.held -= taken
	return nil
}

// list writes the entry of a directory and returns its content.
func (t *treeWriter) list(name string, i *ext4.Inode, depth int) ([]ext4.Entry, error) {
	switch {
	case t.dirs[i.Number]:
		return nil, api.Errorf(api.KindInvalid, "the file system is damaged: the directory occurs twice")
	case depth > t.limits.Depth:
		return nil, api.Errorf(api.KindInvalid, "it is more than %d directories deep", t.limits.Depth)
	}
	t.dirs[i.Number] = true
	if err := t.header(name, i, &tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimSuffix(name, "/") + "/"}); err != nil {
		return nil, err
	}
	return i.Entries(func(e ext4.Entry) error {
		if t.entries++; t.entries > t.limits.Entries {
			return api.Errorf(api.KindInvalid, "the file system holds more than %d files", t.limits.Entries)
		}
		return t.hold(e.Name)
	})
}

func (t *treeWriter) isEmpty(number uint32) bool {
	i, err := t.fs.Inode(number)
	if err != nil || !i.Is(unix.S_IFDIR) {
		return false
	}
	empty, err := i.Empty()
	return err == nil && empty
}

// hold adds the cost of a name that is kept in memory.
func (t *treeWriter) hold(name string) error {
	if t.held += int64(len(name)) + nameCost; t.held > mostHeld {
		return api.Errorf(api.KindInvalid, "its names take more than %d MiB of memory", mostHeld>>20)
	}
	return nil
}

// file writes anything that is not a directory.
func (t *treeWriter) file(name string, i *ext4.Inode) error {
	if i.Is(unix.S_IFSOCK) {
		t.leftOut++
		return nil
	}
	if i.Links > 1 {
		if first, ok := t.links[i.Number]; ok {
			return t.hardLink(name, i, first)
		}
		if err := t.hold(name); err != nil {
			return err
		}
		t.links[i.Number] = link{name, i.Links - 1}
	}
	h := &tar.Header{Name: name}
	switch {
	case i.Is(unix.S_IFREG):
		return t.regular(name, i)
	case i.Is(unix.S_IFLNK):
		target, err := i.Target()
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
	case i.Is(unix.S_IFIFO):
		h.Typeflag = tar.TypeFifo
	case i.Is(unix.S_IFCHR), i.Is(unix.S_IFBLK):
		h.Typeflag = tar.TypeBlock
		if i.Is(unix.S_IFCHR) {
			h.Typeflag = tar.TypeChar
		}
		major, minor := i.Device()
		h.Devmajor, h.Devminor = int64(major), int64(minor)
	default:
		return api.Errorf(api.KindInvalid, "the file system is damaged: its type is unknown (mode %o)", i.Mode)
	}
	return t.header(name, i, h)
}

// hardLink writes another name of a file.
func (t *treeWriter) hardLink(name string, i *ext4.Inode, first link) error {
	if first.more--; first.more == 0 {
		delete(t.links, i.Number)
		t.held -= int64(len(first.name)) + nameCost
	} else {
		t.links[i.Number] = first
	}
	return t.header(name, i, &tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: first.name})
}

func (t *treeWriter) regular(name string, i *ext4.Inode) error {
	if t.bytes += i.Size; t.bytes > t.limits.Bytes {
		return api.Errorf(api.KindInvalid, "with it the files contain more than %d GiB, holes included", t.limits.Bytes>>30).
			WithHint("--format %s exports the file system unchanged", api.ExportExt4)
	}
	if err := t.header(name, i, &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: i.Size}); err != nil {
		return err
	}
	return i.Copy(t.archive)
}

// header adds the fields common to all types, and writes the header.
func (t *treeWriter) header(name string, i *ext4.Inode, h *tar.Header) error {
	if err := t.checkName(name); err != nil {
		return err
	}
	h.Mode, h.Uid, h.Gid, h.ModTime, h.Format = int64(i.Mode&0o7777), int(i.UID), int(i.GID), i.ModTime, tar.FormatPAX
	if h.Typeflag != tar.TypeLink {
		attrs, err := i.Attrs()
		if err != nil {
			return err
		}
		for _, a := range attrs {
			if strings.Contains(a.Name, "=") {
				return notInTar("its attribute %.200q cannot be stored in a tar archive", a.Name)
			}
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+a.Name] = string(a.Value)
		}
	}
	if err := t.archive.WriteHeader(h); err != nil {
		return fmt.Errorf("cannot write it: %w", err)
	}
	return nil
}

// checkName refuses names that readers of the archive would misinterpret.
func (t *treeWriter) checkName(name string) error {
	base := name[strings.LastIndexByte(name, '/')+1:]
	switch {
	case len(name) > t.limits.Path:
		return notInTar("its name is longer than %d bytes", t.limits.Path)
	case t.layer && strings.HasPrefix(base, oci.WhiteoutPrefix):
		return api.Errorf(api.KindUnsupported, "in a layer such a name marks a deleted file").
			WithHint("--format %s has no layers", api.ExportTar)
	}
	return nil
}

func notInTar(format string, args ...any) error {
	return api.Errorf(api.KindUnsupported, format, args...).WithHint("--format %s exports the file system unchanged", api.ExportExt4)
}
