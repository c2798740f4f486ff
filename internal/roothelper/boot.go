package roothelper

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/fsx"
	"banger/internal/rootapi"
)

const (
	// maxBootFile is more than any kernel or initramfs has.
	maxBootFile = 1 << 30
	// keepUnused is how long a file that no jail links is kept: its next use needs
	// no copying.
	keepUnused = 30 * 24 * time.Hour
)

// bootPut keeps a copy of a file that VMs boot from. VMMs read the copy, which
// only root can change, through a hard link in their jails.
func (h *Helper) bootPut(c rootapi.BootPutCall, files []*os.File) (any, error) {
	defer h.locks.lock(c.Digest)()
	path := filepath.Join(h.Dirs.Boot, c.Digest)
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
	if err := os.MkdirAll(h.Dirs.Boot, 0o755); err != nil {
		return nil, diskError("make the directory of boot files", err)
	}
	if err := errors.Join(h.forgetUnused(time.Now()), keep(files[0], path, c.Digest)); err != nil {
		return nil, diskError("keep a boot file", err)
	}
	return rootapi.BootPutAnswer{Kept: true}, nil
}

// used notes that a file is used today, if it is there.
func used(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// mustKeep refuses a start from files that are not kept, before anything is made
// for it: the owner's daemon brings them and asks again.
func (h *Helper) mustKeep(digests ...string) error {
	for _, digest := range digests {
		err := used(filepath.Join(h.Dirs.Boot, digest))
		if errors.Is(err, os.ErrNotExist) {
			return api.Errorf(api.KindNotFound, "no boot file %s is kept", digest)
		}
		if err != nil {
			return diskError("use a boot file", err)
		}
	}
	return nil
}

// keep copies from to path if it has the digest.
func keep(from *os.File, path, digest string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxBootFile {
		return api.Errorf(api.KindInvalid, "it is no regular file of at most %d MiB", maxBootFile>>20)
	}
	to, err := os.CreateTemp(filepath.Dir(path), stagedPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name())
	sum := sha256.New()
	// Bounded: the file may grow while it is read.
	_, err = io.Copy(io.MultiWriter(to, sum), io.NewSectionReader(from, 0, maxBootFile))
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

// stagedPrefix begins the names of files that are being written.
const stagedPrefix = ".staged-"

// forgetUnused removes files that no jail links and that were not used for long,
// and what a crash left half-written.
func (h *Helper) forgetUnused(now time.Time) error {
	entries, err := os.ReadDir(h.Dirs.Boot)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var st unix.Stat_t
		path := filepath.Join(h.Dirs.Boot, e.Name())
		if unix.Lstat(path, &st) != nil || st.Nlink > 1 {
			continue
		}
		age := now.Sub(time.Unix(st.Mtim.Sec, st.Mtim.Nsec))
		// Writing one takes seconds at most.
		if age > keepUnused || strings.HasPrefix(e.Name(), stagedPrefix) && age > time.Hour {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}
