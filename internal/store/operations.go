package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
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

// PutBack takes back that an attempt to take an operation up was counted.
func (s *Store) PutBack(ctx context.Context, id string) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE operations SET attempts = max(0, attempts - 1) WHERE id = ?", id)
		return err
	})
}

// keepEnded is how many ended operations are kept.
const keepEnded = 100

// EndOperation records the end of an operation. It and what the operation
// changed in the store are on the disk when it returns.
func (s *Store) EndOperation(ctx context.Context, last api.Event) error {
	text, err := json.Marshal(last)
	if err != nil {
		return err
	}
	return s.durable(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE operations SET last_event = ? WHERE id = ?", string(text), last.Operation.ID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM operations WHERE last_event IS NOT NULL AND id IN
			(SELECT id FROM operations WHERE last_event IS NOT NULL ORDER BY started_at DESC LIMIT -1 OFFSET ?)`, keepEnded)
		return err
	})
}

// EndedOperation returns the last event of an ended operation, nil for one that
// is not known.
func (s *Store) EndedOperation(ctx context.Context, id string) (*api.Event, error) {
	var text string
	err := s.db.QueryRowContext(ctx, "SELECT last_event FROM operations WHERE id = ? AND last_event IS NOT NULL", id).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	var last api.Event
	if err == nil {
		err = json.Unmarshal([]byte(text), &last)
	}
	if err != nil {
		return nil, explain(s.path, err)
	}
	return &last, nil
}

// UnfinishedOperations returns what earlier daemons left, oldest first, and
// counts this attempt to take it up.
func (s *Store) UnfinishedOperations(ctx context.Context) ([]op.Unfinished, error) {
	var all []op.Unfinished
	err := s.durable(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `UPDATE operations SET attempts = attempts + 1 WHERE last_event IS NULL
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
