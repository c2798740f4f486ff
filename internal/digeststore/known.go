package digeststore

import (
	"os"
	"syscall"
	"time"
)

// known is what was read of an object's directory once. Reading those of 1,000 images takes
// a good part of a second; looking whether they have changed, some milliseconds.
type known[O any] struct {
	dir, meta stamp
	object    O
}

// stamp tells whether a file or directory has changed, whoever has changed it: every change
// sets the ctime, which nobody can set back (inode(7)). All files of an object are renamed into
// its directory, which changes the directory; meta.json may be edited.
type stamp struct {
	inode uint64
	ctime syscall.Timespec
	size  int64
}

// settleTime is how old a change must be when what it made is read, for that to be kept: the
// ctime is as coarse as the kernel's tick, or on some file systems a second, and another
// change may follow within it.
const settleTime = 2 * time.Second

func stampOf(path string) (stamp, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return stamp{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, os.ErrInvalid
	}
	return stamp{inode: st.Ino, ctime: st.Ctim, size: st.Size}, nil
}

func (s stamp) settled(now time.Time) bool {
	return now.Sub(time.Unix(s.ctime.Unix())) > settleTime
}

// look returns the object in a directory, and reads it if the directory has changed since
// it was read. The caller holds mu.
func (s *Store[O]) look(hex string) (object O, err error) {
	now := time.Now()
	dir, err := stampOf(s.Path(hex))
	if err != nil {
		return object, err
	}
	record, err := stampOf(s.Path(hex, MetaFile))
	if err != nil {
		return object, err
	}
	if k, ok := s.known[hex]; ok && k.dir == dir && k.meta == record {
		return k.object, nil
	}
	delete(s.known, hex)
	if object, err = s.kind.Read(s.Path(hex), hex); err != nil {
		return object, err
	}
	if dir.settled(now) && record.settled(now) {
		s.known[hex] = known[O]{dir, record, object}
	}
	return object, nil
}
