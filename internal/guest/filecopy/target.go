package filecopy

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Options select what is preserved of a source.
type Options struct {
	// Archive preserves owners, if this process may set them, and with them the
	// set-user-id and set-group-id bits, capabilities and access lists. Without it
	// everything belongs to the receiver.
	Archive bool
	// FollowLinks lets names go through symbolic links of the target that stay inside,
	// such as a guest's /lib to usr/lib. Without it no link is followed.
	FollowLinks bool
	// Warn receives what was skipped. It may be nil.
	Warn func(name, what string)
}

func (o Options) warn(name, what string) {
	if o.Warn != nil {
		o.Warn(name, what)
	}
}

// maxDirs bounds the directories whose times and modes are set at the end, maxLinked
// the files with several names, and maxHeld the bytes of names and attributes of both:
// the source determines their length.
const (
	maxDirs   = 1 << 20
	maxLinked = 1 << 20
	maxHeld   = 256 << 20
)

// target creates entries below a directory.
type target struct {
	Options
	at       *beneath
	owners   bool
	dirs     map[string]Entry
	made     map[string]bool // files that may get other names; false: not received
	room     int             // remaining bytes of maxHeld
	noXattrs bool            // a warning was sent
}

func openTarget(dir string, o Options) (*target, error) {
	at, err := openBeneath(dir, o.FollowLinks)
	if err != nil {
		return nil, err
	}
	return &target{
		Options: o, at: at, owners: o.Archive && os.Geteuid() == 0,
		dirs: map[string]Entry{}, made: map[string]bool{}, room: maxHeld,
	}, nil
}

func (t *target) close() { t.at.close() }

// dir makes a directory, or uses an existing one. finish sets its attributes.
func (t *target) dir(e Entry) error {
	if e.Name == "." {
		return nil // the receiver's own
	}
	in, base, err := t.parent(e.Name)
	if err != nil {
		return err
	}
	err = unix.Mkdirat(int(in.Fd()), base, 0o700)
	if errors.Is(err, unix.EEXIST) {
		err = nil
		if !t.at.isDir(e.Name) {
			err = notDir(e.Name)
		}
	}
	if err != nil {
		return named(e.Name, err)
	}
	return t.keepDir(e)
}

// keepDir stores what finish sets. If a directory occurs again, as in tar streams, the
// last one counts.
func (t *target) keepDir(e Entry) error {
	before, again := t.dirs[e.Name]
	if !again && len(t.dirs) >= maxDirs {
		return refuse(e.Name, "there are more than %d directories", maxDirs)
	}
	if err := t.hold(e.Name, e.size()-before.size()); err != nil {
		return err
	}
	t.dirs[e.Name] = e
	return nil
}

// hold accounts for the memory of an entry that is stored until the copy ends.
func (t *target) hold(name string, n int) error {
	if n > t.room {
		return refuse(name, "the names and attributes that came before it fill %d MiB", maxHeld>>20)
	}
	t.room -= n
	return nil
}

// parent opens the directory of name, and creates it if the source did not send it.
func (t *target) parent(name string) (*os.File, string, error) {
	dir, base, err := t.at.parent(name)
	if errors.Is(err, unix.ENOENT) {
		if err = t.at.mkdirAll(path.Dir(name)); err == nil {
			dir, base, err = t.at.parent(name)
		}
	}
	return dir, base, err
}

// symlink creates a symbolic link. Its target is not checked: no link is followed here.
func (t *target) symlink(e Entry) error {
	dir, base, err := t.replaceable(e.Name)
	if err != nil {
		return err
	}
	temp := partName(base)
	if err := unlink(dir, temp); err != nil {
		return named(e.Name, err)
	}
	err = unix.Symlinkat(e.Target, int(dir.Fd()), temp)
	if err == nil && t.owners {
		err = unix.Fchownat(int(dir.Fd()), temp, e.UID, e.GID, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = setTime(dir, temp, e.MTime)
	}
	return named(e.Name, t.place(dir, temp, base, err))
}

// link gives an earlier file another name.
func (t *target) link(e Entry) error {
	made, known := t.made[e.Target]
	switch {
	case !known:
		return refuse(e.Name, "it is a hard link to %s, which was not sent before", Quote(e.Target))
	case !made:
		t.warn(e.Name, "is not copied: it is another name of "+Quote(e.Target))
		return nil
	}
	return t.hardLink(e)
}

func (t *target) hardLink(e Entry) error {
	old, err := t.at.lstat(e.Target)
	if err != nil {
		return named(e.Target, err)
	}
	if there, err := t.at.lstat(e.Name); err == nil && there.Dev == old.Dev && there.Ino == old.Ino {
		return nil
	}
	from, fromBase, err := t.at.parent(e.Target)
	if err != nil {
		return err
	}
	held, err := unix.FcntlInt(from.Fd(), unix.F_DUPFD_CLOEXEC, 0) // the next call of parent closes it
	if err != nil {
		return err
	}
	defer unix.Close(held)
	dir, base, err := t.replaceable(e.Name)
	if err != nil {
		return err
	}
	temp := partName(base)
	if err := unlink(dir, temp); err != nil {
		return named(e.Name, err)
	}
	err = unix.Linkat(held, fromBase, int(dir.Fd()), temp, 0)
	return named(e.Name, t.place(dir, temp, base, err))
}

// replaceable opens the directory of name, which must not be a directory itself.
func (t *target) replaceable(name string) (*os.File, string, error) {
	if name == "." {
		return nil, "", refuse(name, "only a directory can have this name")
	}
	dir, base, err := t.parent(name)
	if err != nil {
		return nil, "", err
	}
	var st unix.Stat_t
	err = unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return nil, "", api.Errorf(api.KindInvalid, "cannot replace %s: there is a directory of that name", Quote(name))
	case err != nil && !errors.Is(err, unix.ENOENT):
		return nil, "", named(name, err)
	}
	return dir, base, nil
}

// place renames temp to name, or removes it if err is set.
func (t *target) place(dir *os.File, temp, base string, err error) error {
	if err == nil {
		err = unix.Renameat(int(dir.Fd()), temp, int(dir.Fd()), base)
	}
	if err != nil {
		return errors.Join(err, unlink(dir, temp))
	}
	return unlink(dir, temp) // rename(2) does nothing if both are links to the same file
}

// finish sets the attributes that filling a directory would have changed or prevented.
// A directory comes after those in it, whose names are longer and start with its own.
func (t *target) finish() error {
	names := slices.Sorted(maps.Keys(t.dirs))
	for _, name := range slices.Backward(names) {
		if err := t.finishDir(t.dirs[name]); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) finishDir(e Entry) error {
	dir, base, err := t.at.parent(e.Name)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOENT) {
		return nil // a link to an existing directory, or removed since: not created here
	}
	if err != nil {
		return named(e.Name, err)
	}
	f := os.NewFile(uintptr(fd), e.Name)
	defer f.Close()
	return named(e.Name, t.attributes(f, e))
}

// attributes sets everything but the content of f. Owners come first: setting them
// clears the special bits and capabilities. The time comes last.
func (t *target) attributes(f *os.File, e Entry) error {
	mode := e.Mode & 0o7777
	if t.owners {
		if err := f.Chown(e.UID, e.GID); err != nil {
			return err
		}
	} else {
		mode &^= special // they would grant the receiver's rights
	}
	if err := t.setXattrs(f, e); err != nil {
		return err
	}
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil {
		return fmt.Errorf("cannot set its mode: %w", err)
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(e.MTime)}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), times, 0); err != nil {
		return fmt.Errorf("cannot set its time: %w", err)
	}
	return nil
}

func setTime(dir *os.File, name string, at time.Time) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(at)}
	return unix.UtimesNanoAt(int(dir.Fd()), name, times, unix.AT_SYMLINK_NOFOLLOW)
}

func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// unlink removes a name that may not exist.
func unlink(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
