// Package fileid says whether a file of the host, which banger uses in place, is still what it
// was. Such a file belongs to the user: anybody who may write to it may change it, replace it or
// remove it at any time.
package fileid

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// File is what is recorded of a file.
type File struct {
	Path   string `json:"path"` // absolute; nothing on it is a symbolic link
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Size   int64  `json:"size"`
	// Modified and Changed are the mtime and the ctime in nanoseconds since 1970. Every change
	// sets the ctime, which nobody can set back (inode(7)).
	Modified int64  `json:"mtime_ns"`
	Changed  int64  `json:"ctime_ns"`
	SHA256   string `json:"sha256"` // in hexadecimal, holes included
	// Settled says that the last change was old enough when the file was recorded.
	Settled bool `json:"settled"`
}

// settleTime is how old the last change must be: the ctime is as coarse as the kernel's tick, or
// on some file systems a second, and another change may follow within it.
const settleTime = 2 * time.Second

// ChangedError says that a file is not what was recorded.
type ChangedError struct {
	Path string
	Err  error // why
}

// Error names the file and says what has changed.
func (e *ChangedError) Error() string { return e.Path + " is not what it was: " + e.Err.Error() }

// Unwrap returns what has changed.
func (e *ChangedError) Unwrap() error { return e.Err }

// Open opens a regular file for reading. It follows no symbolic link, neither at
// the path's end nor on the way, and opens nothing before it is known to be a regular file: to open
// a FIFO or a device has effects. Its errors do not name the file.
func Open(path string) (*os.File, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, refusal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, refusal(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, api.Errorf(api.KindInvalid, "it is %s, not a regular file", typeOf(st.Mode))
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, refusal(errors.Unwrap(err)) // without the path in /proc
	}
	return f, nil
}

func refusal(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return api.Errorf(api.KindNotFound, "it does not exist")
	case errors.Is(err, unix.ELOOP):
		return api.Errorf(api.KindInvalid, "it is a symbolic link, or is in a directory that is one")
	case errors.Is(err, fs.ErrPermission):
		return api.Errorf(api.KindDenied, "it cannot be read: %w", err)
	}
	return api.Errorf(api.KindInternal, "it cannot be opened: %w", err)
}

func typeOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFBLK, unix.S_IFCHR:
		return "a device"
	}
	return "something else"
}

// Record reads an open file and records it under path. It fails if the file changes meanwhile.
func Record(ctx context.Context, path string, f *os.File, progress func(done, total int64)) (File, error) {
	return record(path, f, func(size int64) (string, error) { return Hash(ctx, f, size, progress) })
}

// RecordData is Record of a file whose whole content read returns.
func RecordData(path string, f *os.File, read func() ([]byte, error)) (data []byte, recorded File, err error) {
	recorded, err = record(path, f, func(size int64) (string, error) {
		if data, err = read(); err != nil {
			return "", err
		}
		if int64(len(data)) != size {
			return "", errChanges
		}
		return hashData(data), nil
	})
	return data, recorded, err
}

// errChanges means that somebody writes to a file that is being read.
var errChanges = api.Errorf(api.KindConflict, "it changed while it was read").WithHint("end what writes to it, and try again")

func record(path string, f *os.File, hash func(size int64) (string, error)) (File, error) {
	now := time.Now()
	before, err := identify(path, f)
	if err != nil {
		return File{}, err
	}
	if before.SHA256, err = hash(before.Size); err != nil {
		return File{}, err
	}
	before.Settled = now.Sub(time.Unix(0, before.Changed)) > settleTime
	return before, before.Same(f)
}

// identify returns what is known of an open file without reading it.
func identify(path string, f *os.File) (File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return File{}, api.Errorf(api.KindInternal, "it cannot be examined: %w", err)
	}
	return File{Path: path, Device: st.Dev, Inode: st.Ino, Size: st.Size, Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano()}, nil
}

// Same returns nil if an open file has the identity that was recorded, and an error that says what
// differs otherwise. It reads nothing.
func (r File) Same(f *os.File) error {
	now, err := identify(r.Path, f)
	if err != nil {
		return err
	}
	now.SHA256, now.Settled = r.SHA256, r.Settled
	if now != r {
		return errChanges
	}
	return nil
}

// Open opens the file and makes sure that it is what was recorded: by its identity, and by its digest
// if the identity differs or proves nothing. now is what to record from now on. An error that is a
// *ChangedError says that the file is another one; any other is about this call.
func (r File) Open(ctx context.Context, progress func(done, total int64)) (f *os.File, now File, err error) {
	f, err = Open(r.Path)
	if err != nil {
		return nil, r, &ChangedError{r.Path, err}
	}
	if now, err = r.check(ctx, f, progress); err != nil {
		f.Close()
		return nil, r, err
	}
	return f, now, nil
}

// Check is Open for a file that is not needed open.
func (r File) Check(ctx context.Context, progress func(done, total int64)) (now File, err error) {
	f, now, err := r.Open(ctx, progress)
	if err != nil {
		return r, err
	}
	return now, f.Close()
}

func (r File) check(ctx context.Context, f *os.File, progress func(done, total int64)) (File, error) {
	here, err := identify(r.Path, f)
	if err != nil {
		return r, err
	}
	if here.Size != r.Size {
		return r, &ChangedError{r.Path, api.Errorf(api.KindConflict, "it has %d bytes, and had %d", here.Size, r.Size)}
	}
	if r.Settled && r.Same(f) == nil && ctimeCounts(f) {
		return r, nil
	}
	now, err := Record(ctx, r.Path, f, progress)
	switch {
	case errors.Is(err, errChanges):
		return r, &ChangedError{r.Path, err}
	case err != nil:
		return r, err
	case now.SHA256 != r.SHA256:
		at := time.Unix(0, here.Modified).UTC().Format(time.RFC3339)
		return r, &ChangedError{r.Path, api.Errorf(api.KindConflict, "its content has changed; it was last written at %s", at)}
	}
	return now, nil
}

// local are the file systems whose ctime this host's kernel sets. A server, or the program of a file
// system in user space, can say anything.
var local = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true,
	unix.F2FS_SUPER_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true,
	0x2fc12fc1: true, // ZFS (statfs(2) does not list it)
	0xca451a4e: true, // bcachefs
}

// ctimeCounts reports whether the file's ctime proves that the file has not changed.
func ctimeCounts(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && local[int64(st.Type)]
}
