package rootfs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/image/ext4"
	"banger/internal/image/ext4/fill"
)

// lostFound is e2fsck's directory, which all file systems contain.
const lostFound = "lost+found"

// lostFoundBlocks is its size: e2fsck cannot enlarge it when it needs it.
const lostFoundBlocks = 4

// makeFS makes file an ext4 file system of size bytes with the tree dir. It returns how
// many extended attributes did not fit.
func makeFS(ctx context.Context, dir, file string, size, inodes int64, deferred map[string]deferredAttrs) (lost int, err error) {
	f, err := OpenForSync(file)
	if err == nil {
		err = f.Truncate(0) // an earlier try may have written to it
	}
	if err != nil {
		return 0, fsx.DiskError("write the file system", err)
	}
	defer f.Close()
	err = execx.Run(ctx, execx.Cmd{
		Name: "mke2fs", Args: mke2fsArgs(file, size, inodes), Package: "e2fsprogs",
		// The same tree always makes the same file: its digest is the image's name
		// (ext2fs_initialize of libext2fs reads the time from this variable).
		Env: []string{"MKE2FS_SYNC=0", "E2FSPROGS_FAKE_TIME=1"},
	})
	if err != nil {
		return 0, err
	}
	w, err := fill.Open(f)
	if err != nil {
		return 0, api.Errorf(api.KindInternal, "cannot write the file system: %w", err)
	}
	p := &populator{ctx: ctx, w: w, dir: dir, deferred: deferred, links: map[uint64]uint32{}}
	if err := p.root(); err != nil {
		return 0, err
	}
	return p.lost, errors.Join(w.Close(), f.Sync(), f.Close())
}

// OpenForSync opens a file that another program is about to write. A sync of it reports
// every write error since then, even if that program ignored the error of its own sync
// (fsync(2), EIO), as mke2fs does.
func OpenForSync(file string) (*os.File, error) { return os.OpenFile(file, os.O_RDWR, 0) }

// mke2fsArgs leaves nothing for the guest's kernel to initialize later, so that a disk
// does not grow without being used.
func mke2fsArgs(file string, size, inodes int64) []string {
	return []string{
		"-q", "-F", "-t", "ext4", "-O", fill.Features, "-U", uuid, "-L", "banger",
		"-b", strconv.Itoa(BlockSize), "-I", strconv.Itoa(inodeSize), "-m", "0", "-J", "size=16",
		"-N", strconv.FormatInt(max(size/16384, inodes*5/4+1024), 10),
		"-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,resize=" + strconv.Itoa(largest) + ",hash_seed=" + uuid,
		file, strconv.FormatInt(size/1024, 10) + "k",
	}
}

// populator writes a tree into a file system.
type populator struct {
	ctx      context.Context
	w        *fill.Writer
	dir      string
	deferred map[string]deferredAttrs
	links    map[uint64]uint32 // inodes of the tree with several names → inodes in the file system
	lost     int
}

func (p *populator) root() error {
	st, err := p.stat("")
	if err != nil {
		return err
	}
	// The root belongs to root, whoever owns the tree's directory.
	st.Uid, st.Gid = 0, 0
	return p.directory("", fill.RootInode, fill.RootInode, st)
}

func (p *populator) path(name string) string { return filepath.Join(p.dir, name) }

func (p *populator) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(p.path(name), &st); err != nil {
		return st, &os.PathError{Op: "lstat", Path: p.path(name), Err: err}
	}
	return st, nil
}

// meta returns the metadata of a file, including its deferred attributes.
func (p *populator) meta(name string, st unix.Stat_t) (fill.Meta, deferredAttrs, error) {
	m := fill.Meta{Mode: uint16(st.Mode), UID: st.Uid, GID: st.Gid, ModTime: timeOf(st.Mtim)}
	o, ok := p.deferred[name]
	if ok {
		m.UID, m.GID = o.UID, o.GID
		if o.Mode != 0 {
			m.Mode = o.Mode
		}
	}
	var err error
	m.Attrs, err = treeAttrs(p.path(name))
	return m, o, err
}

// treeAttrs reads the extended attributes of a file, without following links.
func treeAttrs(path string) ([]ext4.Attr, error) {
	read := func(call func([]byte) (int, error)) ([]byte, error) {
		n, err := call(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = call(b)
		return b[:max(n, 0)], err
	}
	list, err := read(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var all []ext4.Attr
	for _, name := range splitNames(list) {
		value, err := read(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "getxattr", Path: path, Err: err}
		}
		all = append(all, ext4.Attr{Name: name, Value: value})
	}
	return all, nil
}

// directory writes a directory, and its content, into the file system.
func (p *populator) directory(name string, number, parent uint32, st unix.Stat_t) error {
	m, _, err := p.meta(name, st)
	if err != nil {
		return err
	}
	children, err := os.ReadDir(p.path(name)) // sorted
	if err != nil {
		return err
	}
	entries := make([]fill.Entry, 0, len(children)+1)
	found := false
	for _, c := range children {
		if err := context.Cause(p.ctx); err != nil {
			return err
		}
		child := filepath.Join(name, c.Name())
		st, err := p.stat(child)
		if err != nil {
			return err
		}
		e := fill.Entry{Name: c.Name(), Mode: uint16(st.Mode)}
		if o := p.deferred[child]; o.Mode != 0 {
			e.Mode = o.Mode
		}
		if name == "" && e.Name == lostFound {
			found = true
			if e.Mode&unix.S_IFMT != unix.S_IFDIR {
				return api.Errorf(api.KindInvalid, "cannot make the file system: %s in its root is not a directory, but e2fsck needs a directory of that name", lostFound)
			}
		}
		if e.Inode, err = p.entry(child, number, st); err != nil {
			return err
		}
		entries = append(entries, e)
	}
	if name == "" && !found {
		entries = append(entries, fill.Entry{Name: lostFound, Inode: fill.LostFoundInode, Mode: unix.S_IFDIR})
		own := fill.Meta{Mode: unix.S_IFDIR | 0o700, ModTime: m.ModTime}
		if _, err := p.w.Directory(fill.LostFoundInode, number, own, nil, lostFoundBlocks); err != nil {
			return p.failed(lostFound, err)
		}
	}
	least := 0
	if number == fill.LostFoundInode {
		least = lostFoundBlocks
	}
	lost, err := p.w.Directory(number, parent, m, entries, least)
	p.lost += lost
	return p.failed(name, err)
}

// entry writes a file into the file system, and returns its inode.
func (p *populator) entry(name string, parent uint32, st unix.Stat_t) (uint32, error) {
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir && st.Nlink > 1 {
		if number, ok := p.links[st.Ino]; ok {
			linked, err := p.w.Link(number)
			if linked || err != nil {
				return number, p.failed(name, err)
			}
		}
	}
	number := uint32(fill.LostFoundInode)
	if name != lostFound {
		var err error
		if number, err = p.w.Inode(); err != nil {
			return 0, p.failed(name, err)
		}
	}
	if isDir {
		return number, p.directory(name, number, parent, st)
	}
	if st.Nlink > 1 {
		p.links[st.Ino] = number
	}
	m, o, err := p.meta(name, st)
	if err != nil {
		return 0, err
	}
	var lost int
	switch m.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		lost, err = p.file(name, number, m)
	case unix.S_IFLNK:
		var target string
		if target, err = os.Readlink(p.path(name)); err == nil {
			lost, err = p.w.Symlink(number, m, target)
		}
	default:
		major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev)
		if o.Mode != 0 {
			major, minor = o.Major, o.Minor
		}
		lost, err = p.w.Node(number, m, major, minor)
	}
	p.lost += lost
	return number, p.failed(name, err)
}

func (p *populator) file(name string, number uint32, m fill.Meta) (int, error) {
	f, err := os.OpenFile(p.path(name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return p.w.File(p.ctx, number, m, f, info.Size())
}

// failed adds to an error the name of the file that could not be written.
func (p *populator) failed(name string, err error) error {
	var sys syscall.Errno
	switch {
	case err == nil, errors.Is(err, fill.ErrFull), api.KindOf(err) != api.KindInternal, p.ctx.Err() != nil:
		return err
	case errors.As(err, &sys) && (sys == syscall.ENOSPC || sys == syscall.EDQUOT):
		return fsx.DiskError("write the file system", err)
	}
	return api.Errorf(api.KindInternal, "cannot put %.200q into the file system: %w", name, err)
}

// readDeferred reads the deferred attributes, by file name.
func readDeferred(list string) (map[string]deferredAttrs, error) {
	in, err := os.Open(list)
	if err != nil {
		return nil, fsx.DiskError("read what was unpacked", err)
	}
	defer in.Close()
	deferred := map[string]deferredAttrs{}
	for each := json.NewDecoder(bufio.NewReader(in)); ; {
		var o deferredAttrs
		if err := each.Decode(&o); errors.Is(err, io.EOF) {
			return deferred, nil
		} else if err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot read what was unpacked: %w", err)
		}
		deferred[string(o.Name)] = o
	}
}
