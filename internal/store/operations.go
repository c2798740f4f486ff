package store

import (
	"context"
	"database/sql"
	"time"

	"banger/api"
	"banger/internal/op"
)

// BeginOperation records an operation before its first step. It and every
// write before it are on the disk when it returns.
func (s *Store) BeginOperation(ctx context.Context, row api.Operation) error {
	return s.durable(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO operations (id, kind, target, step, started_at) VALUES (?, ?, ?, ?, ?)",
			row.ID, row.Kind, row.Target, row.Step, row.StartedAt.UnixNano())
		return err
	})
}

// EnterStep records which step an operation is at.
func (s *Store) EnterStep(ctx context.Context, id, step string, undoing bool) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE operations SET step = ?, undoing = ? WHERE id = ?", step, undoing, id)
		return err
	})
}

// EndOperation forgets an operation. What it changed in the store is on the
// disk when it returns.
func (s *Store) EndOperation(ctx context.Context, row api.Operation) error {
	return s.durable(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM operations WHERE id = ?", row.ID)
		return err
	})
}

// UnfinishedOperations returns what earlier daemons left, oldest first, and
// counts this attempt to take it up.
func (s *Store) UnfinishedOperations(ctx context.Context) ([]op.Unfinished, error) {
	var all []op.Unfinished
	err := s.durable(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `UPDATE operations SET attempts = attempts + 1
			RETURNING id, kind, target, step, undoing, attempts, started_at`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var u op.Unfinished
			var started int64
			if err := rows.Scan(&u.ID, &u.Kind, &u.Target, &u.Step, &u.Undoing, &u.Attempts, &started); err != nil {
				return err
			}
			u.Status, u.StartedAt = api.OpRunning, time.Unix(0, started)
			all = append(all, u)
		}
		return rows.Err()
	})
	return all, err
}
