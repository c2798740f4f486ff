package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// mostLinks is how many symbolic links a name may lead through (MAXSYMLINKS in the
// kernel's linux/namei.h).
const mostLinks = 40

var errLoop = errors.New("it leads through too many symbolic links")

// resolvedDir caches the directory that was resolved last: archives list the files of a
// directory one after the other.
type resolvedDir struct {
	dir, real string
	valid     bool
}

func (r *resolvedDir) forget() { r.valid = false }

// resolveParent returns the name of an entry with its directory resolved. The directory
// may be reached through symbolic links, which are followed below the root as in the
// guest. The entry itself is not followed. So no ancestor of a name that the other
// methods use is a symbolic link.
func (t *hostTree) resolveParent(name string) (string, error) {
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	if dir == "." || name == "." {
		return name, nil
	}
	if !t.known.valid || t.known.dir != dir {
		real, err := t.resolve(dir)
		if err != nil {
			return "", err
		}
		t.known = resolvedDir{dir, real, true}
	}
	return path.Join(t.known.real, base), nil
}

// resolve resolves all links of a name. Parts that do not exist yet stay as they are.
func (t *hostTree) resolve(name string) (string, error) {
	at, links := ".", 0
	for rest := name; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		var st unix.Stat_t
		err := unix.Lstat(path.Join(t.path, next), &st)
		switch {
		case err == unix.ENOENT, err == unix.ENOTDIR: // a file in the way is handled later
		case err != nil:
			return "", &os.PathError{Op: "lstat", Path: next, Err: err}
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			if links++; links > mostLinks {
				return "", errLoop
			}
			target, err := os.Readlink(path.Join(t.path, next))
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(target, "/") {
				at = "."
			}
			rest = target + "/" + rest
			continue
		}
		at = next
	}
	return at, nil
}

// ensure makes a directory and its parents, unless the name exists.
func (t *hostTree) ensure(name string) error {
	name, err := t.resolve(name)
	if err != nil || name == "." || t.exists(name) {
		return err
	}
	return t.enter(name, true)
}

// copyOf copies a file that cannot have more hard links.
func (t *hostTree) copyOf(dir int, base string, h *tar.Header) error {
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("it has too many hard links, and cannot be copied: %w", err)
	}
	from := os.NewFile(uintptr(fd), base)
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("stat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EMLINK
	}
	copied := *h
	copied.Typeflag, copied.Linkname, copied.Mode = tar.TypeReg, "", int64(st.Mode&0o7777)
	copied.Uid, copied.Gid, copied.ModTime = int(st.Uid), int(st.Gid), timeOf(st.Mtim)
	if copied.PAXRecords, err = attrRecords(fd); err != nil {
		return err
	}
	return t.file(&copied, from)
}
