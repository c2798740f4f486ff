// Package store stores banger's records in one SQLite database: VMs and operations. Images and kernels
// describe themselves on disk.
package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"

	"banger/api"
	"banger/internal/host/fsx"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Store is an open database. It is safe for concurrent use; one connection
// serves everyone, which is plenty for one user's VMs and keeps memory small.
type Store struct {
	path    string
	mu      sync.Mutex // held over the choice of durability and the write it is for
	db      *sql.DB
	reserve reserve
	suspect bool // the log may not be on the disk although a sync of it succeeds
}

// Open opens the database at path, creates it if there is none, and brings its
// schema up to date after a backup. A newer schema or a damaged file is refused
// and left untouched. A store that is up to date opens on a full disk.
//
// Until Close nobody else can use the database: the caller ensures that it is the only
// daemon. So SQLite needs no file of shared memory, which takes space even to read
// (sqlite.org/wal.html, section 8).
func Open(ctx context.Context, path string) (*Store, error) {
	if err := checkHeader(path); err != nil {
		return nil, err
	}
	s := &Store{path: path, reserve: reserve{path: path + reserveSuffix}}
	s.claim(path, 1) // before SQLite locks it: whoever closes a file loses all locks on it (fcntl(2))
	var err error
	if s.db, err = open(path, "rwc", alone); err != nil {
		return nil, err
	}
	err = s.check(ctx)
	if err == nil {
		err = s.migrate(ctx)
	}
	if err != nil {
		return nil, errors.Join(explain(path, err), s.db.Close())
	}
	s.reserve.fill()
	s.claim(path+"-wal", 0)
	// An earlier daemon may have met a sync that failed, and been killed.
	_ = s.writeAgain(ctx) // else before the first durable write
	return s, nil
}

// check refuses databases that migrate would harm.
func (s *Store) check(ctx context.Context) error {
	var found int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&found); err != nil {
		return err
	}
	if err := checkSchema(s.path, found); err != nil {
		return err
	}
	return quickCheck(ctx, s.path, s.db)
}

// The header of a database (sqlite.org/fileformat2.html, section 1.3).
const (
	headerMagic     = "SQLite format 3\x00"
	headerBytes     = 100
	headerUserField = 60 // the schema's version, big-endian
)

// checkHeader refuses a file that is not a store or has a newer schema before it is
// opened to write.
func checkHeader(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err == nil && !info.Mode().IsRegular():
		return damaged(path, errors.New("it is a "+kindOf(info.Mode())+", not a file"))
	}
	f, err := os.Open(path)
	if err != nil {
		return fsx.DiskError("read the store", err)
	}
	defer f.Close()
	header := make([]byte, headerBytes)
	n, err := io.ReadFull(f, header)
	switch {
	case n == 0 && errors.Is(err, io.EOF): // it is being made
		return nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return api.Errorf(api.KindInternal, "cannot read the store: %w", err)
	case n < headerBytes || string(header[:len(headerMagic)]) != headerMagic:
		return damaged(path, errors.New("it is not a database"))
	}
	return checkSchema(path, int(binary.BigEndian.Uint32(header[headerUserField:])))
}

func kindOf(mode os.FileMode) string {
	if mode.IsDir() {
		return "directory"
	}
	return "special file"
}

func checkSchema(path string, found int) error {
	if known := len(migrations()); found > known {
		return api.Errorf(api.KindUnsupported, "cannot open the store %s: it has schema %d, this banger knows up to %d", path, found, known).
			WithHint("use the newer banger that wrote it, or restore a backup beside it (%s.v*.bak)", path)
	}
	return nil
}

func quickCheck(ctx context.Context, path string, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return explain(path, err)
	}
	if verdict != "ok" {
		return damaged(path, errors.New(verdict))
	}
	return nil
}

// checkBeforeOpening reads an existing database without writing to it. No daemon may have it locked.
func checkBeforeOpening(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read the store: %w", err)
	}
	db, err := open(path, "ro", shared)
	if err != nil {
		return err
	}
	defer db.Close()
	var found int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&found); err != nil {
		return explain(path, err)
	}
	if err := checkSchema(path, found); err != nil {
		return err
	}
	return quickCheck(ctx, path, db)
}

// The ways to open a database.
const (
	shared = "NORMAL"
	alone  = "EXCLUSIVE" // nobody else can use it, without a file of shared memory
)

// open opens one connection. Commits survive a crash of this program, and with durable a crash of the
// host.
func open(path, mode, locking string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: url.Values{
		"mode": {mode},
		// The driver runs them in alphabetical order, and the locking mode counts only
		// before something is read, as it is for the size of the cache: hence "main.".
		"_pragma": {"busy_timeout(" + busyMilliseconds[locking] + ")", "foreign_keys(1)", "locking_mode(" + locking + ")", "main.cache_size(-512)", "synchronous(NORMAL)", "wal_autocheckpoint(0)"},
	}.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot open the store: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// busyMilliseconds bounds the wait for a lock. A reader holds it for a
// moment, a daemon until it ends.
var busyMilliseconds = map[string]string{alone: "5000", shared: "500"}

// explain turns SQLite's result codes (sqlite.org/rescode.html) into errors with hints.
func explain(path string, err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	switch {
	case se.Code()&0xff == sqlite3.SQLITE_CORRUPT || se.Code()&0xff == sqlite3.SQLITE_NOTADB:
		return damaged(path, err)
	case isFull(path, se.Code()):
		return api.Errorf(api.KindNoSpace, "cannot write the store %s: the disk is full: %w", path, err).
			WithHint("free space: banger image prune, or banger vm delete NAME for a VM that nobody needs")
	}
	return api.Errorf(api.KindInternal, "cannot use the store %s: %w", path, err)
}

func damaged(path string, cause error) error {
	return api.Errorf(api.KindInternal, "cannot open the store %s: it is damaged: %w", path, cause).
		WithHint("nothing was changed; restore a backup (ls %s.v*.bak), or move the file away: VMs' disks stay in their directories", path)
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Degraded returns why the store may be unable to record something, or "" if it can.
func (s *Store) Degraded() string { return s.reserve.missing() }

// room defines which space a write may use.
type room bool

const (
	ordinary room = false // what is free on the disk: for what begins something
	reserved room = true  // the reserve, too: for what ends something, or has happened anyway
)

// durable runs write in a transaction that is on the disk when it returns.
func (s *Store) durable(ctx context.Context, write func(tx *sql.Tx) error) error {
	return s.durableIn(ctx, reserved, write)
}

func (s *Store) durableIn(ctx context.Context, r room, write func(tx *sql.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspect {
		if err := s.withRoom(r, func() error { return s.writeAgain(ctx) }); err != nil {
			return err
		}
	}
	if _, err := s.db.ExecContext(ctx, "PRAGMA synchronous=FULL"); err != nil {
		return explain(s.path, err)
	}
	err := s.transact(ctx, r, write)
	_, pragma := s.db.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous=NORMAL")
	return errors.Join(err, pragma)
}

// quick runs write in a transaction that survives a crash of this program.
func (s *Store) quick(ctx context.Context, write func(tx *sql.Tx) error) error {
	return s.quickIn(ctx, reserved, write)
}

func (s *Store) quickIn(ctx context.Context, r room, write func(tx *sql.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transact(ctx, r, write)
}

// transact runs write in a transaction, again with the reserve's space if the disk is
// full and it may use that. write may therefore run more than once.
func (s *Store) transact(ctx context.Context, r room, write func(tx *sql.Tx) error) error {
	err := s.withRoom(r, func() error { return s.try(ctx, write) })
	if err == nil {
		s.checkpoint(context.WithoutCancel(ctx))
		s.reserve.refill()
	}
	return err
}

// withRoom does something, again with the reserve's space if the disk is full and it may
// have that.
func (s *Store) withRoom(r room, do func() error) error {
	err := do()
	for r == reserved && api.KindOf(err) == api.KindNoSpace && s.reserve.give() {
		err = do()
	}
	return err
}

func (s *Store) try(ctx context.Context, write func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return explain(s.path, err)
	}
	if err := write(tx); err != nil {
		return explain(s.path, errors.Join(err, tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		// If a commit fails, SQLite may still have the transaction open.
		err = errors.Join(err, s.rollBack())
		s.dropFailed()
		return explain(s.path, err)
	}
	return nil
}

// rollBack ends a transaction that a failed commit has left open.
func (s *Store) rollBack() error {
	_, err := s.db.ExecContext(context.Background(), "ROLLBACK")
	if err != nil && strings.Contains(err.Error(), "no transaction is active") {
		return nil
	}
	return err
}
