package filecopy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// keepFrom is the size in bytes from which a partial file is kept when the copy fails,
// so that the next copy continues it.
const keepFrom = 1 << 20

// partName returns the temporary name for a file named base. It is the same at every
// attempt, and short enough whatever base is.
func partName(base string) string {
	sum := sha256.Sum256([]byte(base))
	return ".banger-" + hex.EncodeToString(sum[:12]) + ".part"
}

// incoming is a file that is being received under a temporary name.
type incoming struct {
	*os.File
	t     *target
	entry Entry
	self  unix.Stat_t
}

// create starts a file. With resume an existing part of it is kept.
func (t *target) create(e Entry, resume bool) (*incoming, error) {
	dir, base, err := t.replaceable(e.Name)
	if err != nil {
		return nil, err
	}
	temp := partName(base)
	if resume {
		f, _, err := openPart(dir, temp)
		if err != nil {
			return nil, named(e.Name, err)
		}
		return newIncoming(f, t, e)
	}
	if err := unlink(dir, temp); err != nil {
		return nil, named(e.Name, err)
	}
	fd, err := unix.Openat(int(dir.Fd()), temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, named(e.Name, err)
	}
	f := os.NewFile(uintptr(fd), Quote(e.Name))
	if err := lock(f); err != nil {
		f.Close()
		return nil, named(e.Name, err)
	}
	return newIncoming(f, t, e)
}

func newIncoming(f *os.File, t *target, e Entry) (*incoming, error) {
	in := &incoming{File: f, t: t, entry: e}
	if err := unix.Fstat(int(f.Fd()), &in.self); err != nil {
		f.Close()
		return nil, named(e.Name, err)
	}
	return in, nil
}

// lock locks a partial file for one copy; closing the file releases the lock.
func lock(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// openPart opens a partial file, which has to belong to this user, and returns its
// size.
func openPart(dir *os.File, temp string) (*os.File, int64, error) {
	fd, err := unix.Openat(int(dir.Fd()), temp, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	f := os.NewFile(uintptr(fd), temp)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && (st.Mode&^0o700 != unix.S_IFREG || st.Nlink != 1 || st.Uid != uint32(os.Geteuid())) {
		err = fmt.Errorf("%s is not what an earlier copy left", temp)
	}
	if err == nil {
		err = lock(f)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size, nil
}

// commit sets the attributes and gives the file its name.
func (f *incoming) commit() error {
	if err := f.t.attributes(f.File, f.entry); err != nil {
		return errors.Join(named(f.entry.Name, err), f.discard())
	}
	dir, base, ours, err := f.where()
	if err == nil && !ours {
		err = errors.New("another copy of it has started in the meantime")
	}
	if err == nil {
		err = unix.Renameat(int(dir.Fd()), partName(base), int(dir.Fd()), base)
	}
	if err != nil {
		return errors.Join(named(f.entry.Name, err), f.discard())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return f.t.linkable(f.entry, true)
}

// where returns the directory of the file, and whether the temporary name still belongs
// to this file.
func (f *incoming) where() (dir *os.File, base string, ours bool, err error) {
	dir, base, err = f.t.at.parent(f.entry.Name)
	if err != nil {
		return nil, "", false, err
	}
	var st unix.Stat_t
	err = unix.Fstatat(int(dir.Fd()), partName(base), &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return dir, base, false, nil
	}
	return dir, base, st.Dev == f.self.Dev && st.Ino == f.self.Ino, err
}

// linkable remembers a file that gets other names, and whether it was received.
func (t *target) linkable(e Entry, came bool) error {
	if !e.Linked {
		return nil
	}
	if _, again := t.made[e.Name]; !again {
		if len(t.made) >= maxLinked {
			return refuse(e.Name, "there are more than %d files with several names", maxLinked)
		}
		if err := t.hold(e.Name, len(e.Name)); err != nil {
			return err
		}
	}
	t.made[e.Name] = came
	return nil
}

// abandon closes an incomplete file: a large one is kept for the next attempt.
func (f *incoming) abandon() error {
	if info, err := f.Stat(); err == nil && info.Size() >= keepFrom {
		return f.Close()
	}
	return f.discard()
}

// discard closes a file and removes it.
func (f *incoming) discard() error {
	defer f.Close() // the lock is held until the name is removed
	dir, base, ours, err := f.where()
	if err != nil || !ours {
		return err
	}
	return unlink(dir, partName(base))
}
