package roothelper

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/rootapi"
)

const (
	// maxBootFile, in bytes, is more than the size of any kernel or initramfs.
	maxBootFile = 1 << 30
	// keepUnused is how long a file that no jail links is cached, so that its next use
	// needs no copying.
	keepUnused = 30 * 24 * time.Hour
	// maxUnused and maxUnusedBytes bound the files that no jail links, including the new
	// one: the files belong to root, so the owner's quota does not apply.
	maxUnused      = 16
	maxUnusedBytes = 4 << 30
	// maxBootBytes bounds all files together: a jail that links a file keeps it here, and
	// the owner may start a VM from each.
	maxBootBytes = 16 << 30
	// bootMargin is the space, in bytes, that stays free in addition to the blocks that the
	// file system reserves for root.
	bootMargin = 64 << 20
)

// bootPut stores a copy of a file that VMs boot from. VMMs read the copy, which only root
// can change, through a hard link in their jails.
func (h *Helper) bootPut(c rootapi.BootPutCall, files []*os.File) (any, error) {
	defer h.locks.lock(c.Digest)()
	return h.bootFiles().put(c.Digest, files)
}

// bootFiles returns the store of what VMs boot from.
func (h *Helper) bootFiles() bootStore {
	return bootStore{dir: h.Dirs.Boot, allocating: &h.booting}
}

// bootStore is a directory of files that are named by their digests.
type bootStore struct {
	dir        string
	allocating *sync.Mutex
}

// put stores a copy of files[0] with that digest; without a file it reports whether the
// store has it. The caller holds the digest's lock.
func (b bootStore) put(digest string, files []*os.File) (any, error) {
	path := filepath.Join(b.dir, digest)
	err := used(path)
	if err == nil {
		return rootapi.BootPutAnswer{Kept: true}, nil
	}
	if !errors.Is(err, os.ErrNotExist) || len(files) == 0 {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return rootapi.BootPutAnswer{}, err
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, diskError("create the directory of boot files", err)
	}
	if err := b.store(files[0], path, digest); err != nil {
		return nil, diskError("store a boot file", err)
	}
	return rootapi.BootPutAnswer{Kept: true}, nil
}

// used records that a file is used today, if it exists.
func used(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// require refuses a start from files that are not stored, before anything is
// created for it: the owner's daemon sends them and asks again.
func (b bootStore) require(digests ...string) error {
	for _, digest := range digests {
		err := used(filepath.Join(b.dir, digest))
		if errors.Is(err, os.ErrNotExist) {
			return api.Errorf(api.KindNotFound, "no boot file %s is stored", digest)
		}
		if err != nil {
			return diskError("use a boot file", err)
		}
	}
	return nil
}

// store copies from to path if it has the digest.
func (b bootStore) store(from *os.File, path, digest string) error {
	size, err := bootSize(from)
	if err != nil {
		return err
	}
	to, err := b.stage(size)
	if err != nil {
		return err
	}
	defer os.Remove(to.Name())
	sum := sha256.New()
	// Bounded: the file may grow while it is read, and then has another digest.
	_, err = io.Copy(io.MultiWriter(to, sum), io.NewSectionReader(from, 0, size+1))
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != digest {
		err = api.Errorf(api.KindInvalid, "its content does not have the digest %s", digest)
	}
	err = errors.Join(err, to.Chmod(0o444), to.Sync(), to.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(to.Name(), path); err != nil {
		return err
	}
	return fsx.SyncDir(filepath.Dir(path))
}

// bootSize returns the size of a file that may be a boot file.
func bootSize(f *os.File) (int64, error) {
	if err := fsx.RefuseFUSE("boot file", f); err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxBootFile {
		return 0, api.Errorf(api.KindInvalid, "it is not a regular file of at most %d MiB", maxBootFile>>20)
	}
	return st.Size, nil
}

// stage creates the file that a boot file of that size is copied to. It has its full
// size from the beginning, so concurrent requests count one another's. Only this step is
// done by one request at a time, because the source of the copy may be slow.
func (b bootStore) stage(size int64) (*os.File, error) {
	b.allocating.Lock()
	defer b.allocating.Unlock()
	if err := b.makeRoom(time.Now(), size); err != nil {
		return nil, err
	}
	if err := fsx.NeedSpace(b.dir, size+bootMargin); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(b.dir, stagedPrefix+"*")
	if err != nil || size == 0 {
		return f, err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) { // the space is then allocated as it is written
		err = f.Truncate(size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// stagedPrefix begins the names of files that are being written.
const stagedPrefix = ".staged-"

// bootFile is a file in the directory of boot files.
type bootFile struct {
	path   string
	size   int64
	used   time.Time
	linked bool // by a jail: it is never removed
	staged bool
}

// makeRoom removes files that were not used for long and files that a crash left incomplete.
// Then it removes the least recently used files that no jail links, until one more file of
// that size is within the bounds.
func (b bootStore) makeRoom(now time.Time, size int64) error {
	files, err := b.list()
	if err != nil {
		return err
	}
	var unused []bootFile // the one used last comes first
	all, bytes := size, size
	for _, f := range files {
		age := now.Sub(f.used)
		// Writing one takes seconds at most.
		if !f.linked && (age > keepUnused || f.staged && age > time.Hour) {
			err = errors.Join(err, os.Remove(f.path))
			continue
		}
		all += f.size
		if !f.linked {
			unused, bytes = append(unused, f), bytes+f.size
		}
	}
	slices.SortFunc(unused, func(a, b bootFile) int { return b.used.Compare(a.used) })
	for n := len(unused) - 1; n >= 0 && (n+1 >= maxUnused || bytes > maxUnusedBytes || all > maxBootBytes); n-- {
		f := unused[n]
		if f.staged {
			continue // its request is still writing it
		}
		err = errors.Join(err, os.Remove(f.path))
		all, bytes = all-f.size, bytes-f.size
	}
	if err == nil && all > maxBootBytes {
		return api.Errorf(api.KindNoSpace, "the kernels and initramfs files of started VMs would take %d MiB with this one; the limit is %d MiB", all>>20, maxBootBytes>>20).
			WithHint("stop VMs that were started from other kernels: banger ps")
	}
	return err
}

func (b bootStore) list() ([]bootFile, error) {
	entries, err := os.ReadDir(b.dir)
	var files []bootFile
	for _, e := range entries {
		var st unix.Stat_t
		path := filepath.Join(b.dir, e.Name())
		if unix.Lstat(path, &st) != nil {
			continue // renamed or removed in between
		}
		files = append(files, bootFile{
			path: path, size: st.Size, used: time.Unix(st.Mtim.Unix()),
			linked: st.Nlink > 1, staged: strings.HasPrefix(e.Name(), stagedPrefix),
		})
	}
	return files, err
}
