// Package store keeps what banger must remember in one SQLite database: VMs and
// unfinished operations. Images and kernels describe themselves on disk.
package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"sync"

	"banger/api"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Store is an open database. It is safe for concurrent use; one connection
// serves everyone, which is plenty for one user's VMs and keeps memory small.
type Store struct {
	path string
	mu   sync.Mutex // held over the choice of durability and the write it is for
	db   *sql.DB
}

// Open opens the database at path, makes it where there is none, and brings its
// schema up to date after a backup. A newer schema or a damaged file is refused
// and left untouched.
func Open(ctx context.Context, path string) (*Store, error) {
	if err := checkBeforeOpening(ctx, path); err != nil {
		return nil, err
	}
	db, err := open(path, "rwc")
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, db: db}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(explain(path, err), db.Close())
	}
	return s, nil
}

// checkBeforeOpening reads an existing database without writing to it.
func checkBeforeOpening(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read the store: %w", err)
	}
	db, err := open(path, "ro")
	if err != nil {
		return err
	}
	defer db.Close()
	var found int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&found); err != nil {
		return explain(path, err)
	}
	if found > len(migrations()) {
		return api.Errorf(api.KindUnsupported, "cannot open the store %s: it has schema %d, this banger knows up to %d", path, found, len(migrations())).
			WithHint("use the newer banger that wrote it, or restore a backup beside it (%s.v*.bak)", path)
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return explain(path, err)
	}
	if verdict != "ok" {
		return damaged(path, errors.New(verdict))
	}
	return nil
}

// open opens one connection in write-ahead mode. Commits survive a crash of
// this program at once, and a crash of the host where durable was asked for.
func open(path, mode string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: url.Values{
		"mode":    {mode},
		"_pragma": {"busy_timeout(5000)", "synchronous(NORMAL)", "foreign_keys(1)", "cache_size(-512)"},
	}.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot open the store: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// explain turns SQLite's result codes (sqlite.org/rescode.html) into what the
// user can do.
func explain(path string, err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return damaged(path, err)
	case sqlite3.SQLITE_FULL:
		return api.Errorf(api.KindNoSpace, "cannot write the store %s: the disk is full", path).
			WithHint("make room: banger image prune, or banger vm delete NAME for a VM that nobody needs")
	}
	return api.Errorf(api.KindInternal, "cannot use the store %s: %w", path, err)
}

func damaged(path string, cause error) error {
	return api.Errorf(api.KindInternal, "cannot open the store %s: it is damaged: %w", path, cause).
		WithHint("nothing was changed; restore a backup (ls %s.v*.bak), or move the file away: VMs' disks stay in their directories", path)
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// durable runs write in a transaction that is on the disk when it returns.
func (s *Store) durable(ctx context.Context, write func(tx *sql.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.db.ExecContext(ctx, "PRAGMA synchronous=FULL"); err != nil {
		return explain(s.path, err)
	}
	err := s.transact(ctx, write)
	_, pragma := s.db.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous=NORMAL")
	return errors.Join(err, pragma)
}

// quick runs write in a transaction that survives a crash of this program.
func (s *Store) quick(ctx context.Context, write func(tx *sql.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transact(ctx, write)
}

func (s *Store) transact(ctx context.Context, write func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return explain(s.path, err)
	}
	if err := write(tx); err != nil {
		return explain(s.path, errors.Join(err, tx.Rollback()))
	}
	return explain(s.path, tx.Commit())
}
