package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"banger/api"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNotFound is returned for a VM that is not in the store.
var ErrNotFound = errors.New("not in the store")

// AddVM records a new VM. A name that is taken is an error of kind exists.
func (s *Store) AddVM(ctx context.Context, v api.VM) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		record, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO vms (id, name, created_at, record) VALUES (?, ?, ?, ?)",
			v.ID, v.Name, v.CreatedAt.UnixNano(), string(record))
		return taken(v.Name, err)
	})
}

// PutVM replaces what is recorded of a VM.
func (s *Store) PutVM(ctx context.Context, v api.VM) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		record, err := json.Marshal(v)
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "UPDATE vms SET name = ?, record = ? WHERE id = ?", v.Name, string(record), v.ID)
		if err != nil {
			return taken(v.Name, err)
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return fmt.Errorf("VM %s: %w", v.ID, errors.Join(ErrNotFound, err))
		}
		return nil
	})
}

func taken(name string, err error) error {
	var se *sqlite.Error
	if errors.As(err, &se) && se.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return api.Errorf(api.KindExists, "a VM named %q exists already", name).
			WithHint("choose another name, or: banger vm delete %s (--force where it runs)", name)
	}
	return err
}

// DeleteVM forgets a VM; one that is not there is no error.
func (s *Store) DeleteVM(ctx context.Context, id string) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM vms WHERE id = ?", id)
		return err
	})
}

// VMs returns all VMs, oldest first.
func (s *Store) VMs(ctx context.Context) ([]api.VM, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT record FROM vms ORDER BY created_at, id")
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	var all []api.VM
	for rows.Next() {
		var record string
		var v api.VM
		if err := rows.Scan(&record); err != nil {
			return nil, explain(s.path, err)
		}
		if err := json.Unmarshal([]byte(record), &v); err != nil {
			return nil, damaged(s.path, err)
		}
		all = append(all, v)
	}
	return all, explain(s.path, rows.Err())
}
