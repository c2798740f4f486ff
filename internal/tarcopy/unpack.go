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
	"strings"
	"time"
)

// Unpack unpacks a tar stream beneath the directory dir, which exists. Owners are
// set where this process may (root), modes and times always. A file that is there
// already is replaced; a directory is merged with one that is there. Names and
// links cannot lead out of dir.
func Unpack(r io.Reader, dir string, skipped func(name, what string)) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := &unpacker{root: root, owners: os.Geteuid() == 0, skipped: skipped}
	stream := tar.NewReader(r)
	for {
		h, err := stream.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("bad tar stream: %w", err)
		}
		if err := u.entry(h, stream); err != nil {
			return err
		}
	}
	if err := u.finishDirs(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // padding behind the end
	return err
}

// maxDirs bounds how many directories wait for their times and modes.
const maxDirs = 1 << 20

type unpacker struct {
	root    *os.Root
	owners  bool
	skipped func(name, what string)
	dirs    []*tar.Header
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := localName(h.Name)
	if err != nil {
		return err
	}
	if sparse(h) {
		return fmt.Errorf("the tar stream has a sparse file, %q: pack it without --sparse", h.Name)
	}
	if parent := path.Dir(name); parent != "." {
		if err := u.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(name, h)
	case tar.TypeReg:
		return u.file(name, h, content)
	case tar.TypeSymlink:
		if err := u.clear(name); err != nil {
			return err
		}
		if err := u.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return u.own(name, h)
	case tar.TypeLink:
		target, err := localName(h.Linkname)
		if err != nil {
			return err
		}
		if target == name {
			return nil
		}
		if err := u.clear(name); err != nil {
			return err
		}
		return u.root.Link(target, name)
	case tar.TypeXGlobalHeader:
		return nil
	}
	u.skipped(h.Name, fmt.Sprintf("a tar entry of type %q", h.Typeflag))
	return nil
}

// sparse says that the file has holes: a few bytes of the stream could then fill
// any disk.
func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// localName makes a name of the stream relative; one that leads upwards is an error.
func localName(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if !filepath.IsLocal(clean) {
		return "", fmt.Errorf("the tar stream has a name that leads out of the directory: %q", name)
	}
	return clean, nil
}

// clear removes what is at name, so that nothing is written through a link.
func (u *unpacker) clear(name string) error {
	info, err := u.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "replace", Path: name, Err: errors.New("a directory is there already")}
	}
	if err != nil {
		return err
	}
	return u.root.Remove(name)
}

func (u *unpacker) dir(name string, h *tar.Header) error {
	if err := u.root.Mkdir(name, 0o700); err != nil {
		info, statErr := u.root.Stat(name)
		if statErr != nil || !info.IsDir() {
			return err
		}
	}
	if len(u.dirs) >= maxDirs {
		return fmt.Errorf("the tar stream has more than %d directories", maxDirs)
	}
	if name != "." { // the directory itself is the receiver's own
		u.dirs = append(u.dirs, &tar.Header{Name: name, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime})
	}
	return nil
}

func (u *unpacker) file(name string, h *tar.Header, content io.Reader) error {
	if err := u.clear(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil && u.owners {
		err = f.Chown(h.Uid, h.Gid)
	}
	if err == nil {
		err = f.Chmod(h.FileInfo().Mode() & modeBits)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = u.root.Chtimes(name, time.Time{}, h.ModTime)
	}
	return err
}

const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

func (u *unpacker) own(name string, h *tar.Header) error {
	if !u.owners {
		return nil
	}
	return u.root.Lchown(name, h.Uid, h.Gid)
}

// finishDirs sets what filling a directory would have changed or prevented, the
// deepest first.
func (u *unpacker) finishDirs() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		h := u.dirs[i]
		if info, err := u.root.Lstat(h.Name); err != nil || !info.IsDir() {
			continue // a link to a directory that was there: not ours
		}
		if err := u.own(h.Name, h); err != nil {
			return err
		}
		h.Typeflag = tar.TypeDir
		if err := u.root.Chmod(h.Name, h.FileInfo().Mode()&modeBits); err != nil {
			return err
		}
		if err := u.root.Chtimes(h.Name, time.Time{}, h.ModTime); err != nil {
			return err
		}
	}
	return nil
}
