package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"banger/internal/host/fsx"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// reserveSuffix is the suffix of the reserve's name after the store's.
	reserveSuffix = "-reserve"
	reserveBytes  = 4 << 20
	// checkpointPages is how many pages of 4 KiB the write-ahead log grows to before
	// they are written to the database and it is begun again.
	checkpointPages = 100
	// claimedBytes is what the log, and the database in growing, find on a full disk:
	// the pages above, and a large transaction.
	claimedBytes = 512 << 10
	// reservePiece is the number of bytes that are released at once.
	reservePiece = 1 << 20
	// roomBytes is the space that must be free in addition to the reserve before it is restored: on a
	// completely full disk it is left to those who free space.
	roomBytes = 16 << 20
	// refillPause is the pause between two tries to restore a missing reserve.
	refillPause = 10 * time.Second
)

// reserve is a file that reserves space for the store. On a full disk the store gets it, piece by
// piece, so that it can record the operations that free space: other programs may be quicker to use
// free space.
type reserve struct {
	path string

	mu    sync.Mutex
	tried time.Time // when it was last looked after
	why   string    // why it is not whole
}

// fill restores the reserve if there is space for it.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried, r.why = time.Now(), ""
	if r.size() == reserveBytes {
		return
	}
	err := fsx.NeedSpace(filepath.Dir(r.path), reserveBytes+roomBytes)
	if err == nil {
		err = allocate(r.path, reserveBytes)
	}
	if err != nil {
		r.why = err.Error()
	}
}

func (r *reserve) size() int64 {
	info, err := os.Stat(r.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// refill is fill for an incomplete reserve, after a pause.
func (r *reserve) refill() {
	r.mu.Lock()
	due := r.why != "" && time.Since(r.tried) > refillPause
	r.mu.Unlock()
	if due {
		r.fill()
	}
}

// give releases a piece of the reserve's space, and reports whether there was any.
func (r *reserve) give() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.size() - reservePiece
	if left < 0 || os.Truncate(r.path, left) != nil {
		return false
	}
	r.why, r.tried = "the disk is full; banger uses the room that it keeps for this", time.Now()
	return true
}

// missing returns why the reserve is incomplete, or "" if it is complete.
func (r *reserve) missing() string {
	r.refill()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// claim is claimFile with the reserve's space if no other is free. If it fails, the
// space may or may not be available when it is needed.
func (s *Store) claim(path string, more int64) {
	err := claimFile(path, more)
	for fsx.IsNoSpace(err) && s.reserve.give() {
		err = claimFile(path, more)
	}
}

// claimFile allocates space on the disk for a file of SQLite without making it longer, if the file
// system supports that: claimedBytes, in addition to its length if more is 1. SQLite shortens neither
// the database nor its log while they are open.
func claimFile(path string, more int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, more*info.Size()+claimedBytes)
}

// allocate creates a file that occupies all of its size on the disk.
func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) { // ZFS, NFS below 4.2
		_, err = f.WriteAt(make([]byte, size), 0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Truncate(path, 0) // it is made as a whole
	}
	return err
}

// isFull reports whether a result of SQLite means that the disk is full. If a call
// fails for which SQLite does not record the reason (sqlite.org/rescode.html, IOERR), isFull
// checks the disk.
func isFull(path string, code int) bool {
	switch code {
	case sqlite3.SQLITE_FULL:
		return true
	case sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC,
		sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_CLOSE,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR_GETTEMPPATH:
		return hasNoRoom(filepath.Dir(path))
	}
	return false
}

// hasNoRoom reports whether not even a page can be written to a file system.
func hasNoRoom(dir string) bool {
	f, err := os.CreateTemp(dir, ".room.*")
	if err == nil {
		_, err = f.Write(make([]byte, 1<<16))
		err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	return fsx.IsNoSpace(err)
}
