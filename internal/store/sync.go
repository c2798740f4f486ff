package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// After a failed fsync the kernel treats the pages as clean: the next fsync succeeds without writing
// them, although they are only in memory (LWN 752063; found by PostgreSQL in 2018). In SQLite's
// write-ahead log this affects everything since the last successful sync, including earlier
// transactions that later ones depend on.

// dropFailed ensures that a transaction whose commit has failed does not exist for the next daemon
// either: all of it may be in the log, and only its sync may have failed. One page is written over its
// beginning, from where on the log's checksums do not match any more
// (sqlite.org/fileformat2.html, section 4.1). The caller holds mu.
func (s *Store) dropFailed() {
	s.suspect = true
	ctx := context.Background()
	var version, level int
	err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	if err == nil {
		err = s.db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level)
	}
	if err == nil {
		_, err = s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA synchronous=NORMAL; PRAGMA user_version=%d", version))
		_, back := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA synchronous=%d", level)) // it is tried again, perhaps
		err = errors.Join(err, back)
	}
	if err == nil {
		_ = s.writeAgain(ctx) // else before the next durable write
	}
}

// checkpoint copies a long log to the database. SQLite would do that itself after a commit
// (wal_autocheckpoint), but tell nobody of an error: what was committed before without a sync
// would be taken for synced by the next durable transaction, which builds on it, though the
// kernel had dropped it. A checkpoint whose sync of the database fails loses nothing: SQLite
// begins the log again only when that has succeeded (wal.c, walCheckpoint: nBackfill), so that
// the next one writes the same pages once more. The caller holds mu.
func (s *Store) checkpoint(ctx context.Context) {
	var busy, inLog, copied sql.NullInt64
	// NOOP only says how long the log is (sqlite.org/pragma.html).
	err := s.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &inLog, &copied)
	if err != nil || inLog.Int64 < checkpointPages {
		return
	}
	switch err := s.copyLog(ctx); {
	case err == nil:
		s.suspect = false
	case failedSync(err):
		s.suspect = true // else the log is as good as before
	}
}

// failedSync says whether an error may be of a sync, rather than of a write, which takes no
// page for clean.
func failedSync(err error) bool {
	var se *sqlite.Error
	return !errors.As(err, &se) || se.Code() != sqlite3.SQLITE_FULL && se.Code() != sqlite3.SQLITE_IOERR_WRITE
}

// writeAgain copies what the log holds from memory to the database and syncs that; the log
// is written from its beginning then. The caller holds mu.
func (s *Store) writeAgain(ctx context.Context) error {
	err := s.copyLog(ctx)
	s.suspect = err != nil
	return explain(s.path, err)
}

func (s *Store) copyLog(ctx context.Context) error {
	var busy, inLog, copied sql.NullInt64
	err := s.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &inLog, &copied)
	if err == nil && busy.Int64 != 0 {
		err = errors.New("the log is in use")
	}
	return err
}
