package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"banger/internal/fsx"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// reserveSuffix is what the reserve's name adds to the store's.
	reserveSuffix = ".reserve"
	// reserveBytes is as much as the write-ahead log grows to before SQLite starts
	// it again: 1000 pages of 4 KiB (sqlite.org/wal.html, section 2.1).
	reserveBytes = 4 << 20
	// roomBytes is what must be free beside the reserve before it is made again: a
	// disk that is full to the brim is left to those who make room.
	roomBytes = 16 << 20
	// refillPause is how often a missing reserve is looked after.
	refillPause = 10 * time.Second
)

// reserve is a file that holds room for the store. On a full disk it goes, and what
// must be recorded while room is being made can be.
type reserve struct {
	path string

	mu     sync.Mutex
	tried  time.Time // when it could not be made
	why    string    // why it is not there
	looked bool
}

// fill makes the reserve where it is not there and there is room for it.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked, r.tried = true, time.Now()
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveBytes {
		r.why = ""
		return
	}
	err := fsx.NeedSpace(filepath.Dir(r.path), reserveBytes+roomBytes)
	if err == nil {
		err = allocate(r.path, reserveBytes)
	}
	r.why = ""
	if err != nil {
		r.why = err.Error()
	}
}

// refill is fill for a reserve that is missing, after a pause.
func (r *reserve) refill() {
	r.mu.Lock()
	due := r.why != "" && time.Since(r.tried) > refillPause
	r.mu.Unlock()
	if due {
		r.fill()
	}
}

// free gives the reserve's room back, and says whether there was any.
func (r *reserve) free() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if os.Remove(r.path) != nil {
		return false
	}
	r.why, r.tried = "the disk is full, and the room that is kept for the store is in use", time.Now()
	return true
}

// missing says why the reserve is not there; empty where it is.
func (r *reserve) missing() string {
	r.refill()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// allocate makes a file that occupies all of its size.
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
		_ = os.Remove(path) // a part of it is of no use
	}
	return err
}

// isFull says whether a result of SQLite's means that the disk is full. Where a call
// fails of which SQLite does not keep why (sqlite.org/rescode.html, IOERR), the disk
// is asked.
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

// hasNoRoom says whether not even a page can be written to a file system.
func hasNoRoom(dir string) bool {
	f, err := os.CreateTemp(dir, ".room.*")
	if err == nil {
		_, err = f.Write(make([]byte, 1<<16))
		err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	return fsx.IsNoSpace(err)
}
