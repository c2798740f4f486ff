package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"banger/internal/host/fsx"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the migrations in order; the schema's version is how many
// of them were applied.
func migrations() []string {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	return names
}

// migrate applies the missing migrations, each in its own transaction, after a backup of the store.
func (s *Store) migrate(ctx context.Context) error {
	var have int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	all := migrations()
	if have == len(all) {
		return nil
	}
	if have > 0 {
		if err := s.backup(ctx, have); err != nil {
			return fmt.Errorf("cannot back up the store before changing its schema: %w", err)
		}
	}
	// Write-ahead mode is a property of the file, so it is set once.
	if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode=WAL"); err != nil {
		return err
	}
	for version := have; version < len(all); version++ {
		if err := s.apply(ctx, all[version], version+1); err != nil {
			return fmt.Errorf("cannot apply %s: %w", all[version], err)
		}
	}
	// The file itself then contains its schema, for programs that cannot read the log beside it.
	_, err := s.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// backup writes a consistent copy of the store beside it, and replaces an older one of the same schema
// version.
func (s *Store) backup(ctx context.Context, version int) error {
	path := fmt.Sprintf("%s.v%d.bak", s.path, version)
	fresh := path + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if _, err := s.db.ExecContext(ctx, "VACUUM INTO ?", fresh); err != nil {
		return err
	}
	if err := syncFile(fresh); err != nil {
		return err
	}
	return errors.Join(os.Rename(fresh, path), fsx.SyncDir(filepath.Dir(path)))
}

func (s *Store) apply(ctx context.Context, name string, version int) error {
	text, err := migrationFiles.ReadFile(name)
	if err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if _, err := tx.ExecContext(ctx, string(text)); err != nil {
		return err
	}
	// A pragma takes no bound parameters; version is a number.
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d", version)); err != nil {
		return err
	}
	return tx.Commit()
}
