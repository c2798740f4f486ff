package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// When an fsync has failed, the kernel takes the pages for clean: the next fsync succeeds
// and says nothing of them, while they are in memory alone (LWN 752063; PostgreSQL met it
// in 2018). Of SQLite's write-ahead log that is all since the last good sync: also earlier
// transactions, on which later ones build.

// dropFailed sees that a transaction whose commit has failed is none for the next daemon
// either: all of it may be in the log, and only its sync have failed. One page is written
// over its beginning, from where on the log's checksums do not fit any more
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

// writeAgain copies what the log holds from memory to the database and syncs that; the log
// is written from its beginning then. The caller holds mu.
func (s *Store) writeAgain(ctx context.Context) error {
	var busy, inLog, copied sql.NullInt64
	err := s.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &inLog, &copied)
	if err == nil && busy.Int64 != 0 {
		err = errors.New("the log is in use")
	}
	s.suspect = err != nil
	return explain(s.path, err)
}
