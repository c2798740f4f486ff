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

// BeginOperation records an operation before its first step, and raises the
// generation of the VM that it works on, if it works on one and does more than end it:
// operations of earlier generations are over from then on. It and every write before it
// are on the disk when it returns.
func (s *Store) BeginOperation(ctx context.Context, row api.Operation) error {
	raise, r := 1, ordinary
	if op.Ends(row.Kind) {
		raise, r = 0, reserved
	}
	return s.durableIn(ctx, r, func(tx *sql.Tx) error {
		var generation int64
		err := tx.QueryRowContext(ctx, "UPDATE vms SET generation = generation + ? WHERE id = ? RETURNING generation", raise, row.Target).Scan(&generation)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO operations (id, kind, target, step, started_at, params, deadline, generation, request)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			row.ID, row.Kind, row.Target, row.Step, row.StartedAt.UnixNano(), orNull(row.Params), nanoseconds(row.Deadline), generation, orNull(row.Request))
		return err
	})
}

// orNull returns a text as a column's value, NULL if it is empty.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// nanoseconds returns a time as a column's value.
func nanoseconds(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixNano()
}

// EnterStep records the current step of an operation. Reaching it is progress: the attempts to resume
// the operation are counted from there.
func (s *Store) EnterStep(ctx context.Context, id, step string, undoing bool) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE operations SET step = ?, undoing = ?, attempts = iif(?, attempts, 0) WHERE id = ?", step, undoing, undoing, id)
		return err
	})
}

// PutBack reverts the count of an attempt to resume an operation.
func (s *Store) PutBack(ctx context.Context, id string) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE operations SET attempts = max(0, attempts - 1) WHERE id = ?", id)
		return err
	})
}

const (
	// keepEnded is the minimum number of ended operations that are kept.
	keepEnded = 100
	// keepTime is the minimum time that an ended operation is kept: longer than any client tries to
	// reconnect.
	keepTime = 30 * time.Minute
)

// EndOperation records the end of an operation. It and what the operation
// changed in the store are on the disk when it returns.
func (s *Store) EndOperation(ctx context.Context, last api.Event) error {
	text, err := json.Marshal(last)
	if err != nil {
		return err
	}
	ended := last.Operation.StartedAt
	if last.Operation.FinishedAt != nil {
		ended = *last.Operation.FinishedAt
	}
	return s.durable(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE operations SET last_event = ?, ended_at = ? WHERE id = ?", string(text), ended.UnixNano(), last.Operation.ID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM operations WHERE last_event IS NOT NULL AND coalesce(ended_at, 0) < ? AND id IN
			(SELECT id FROM operations WHERE last_event IS NOT NULL ORDER BY started_at DESC LIMIT -1 OFFSET ?)`,
			time.Now().Add(-keepTime).UnixNano(), keepEnded)
		return err
	})
}

// EndedOperation returns the last event of an ended operation, or nil if it is unknown.
func (s *Store) EndedOperation(ctx context.Context, id string) (*api.Event, error) {
	return s.lastEvent(ctx, "id", id)
}

// EndedOperations returns the ids of the ended operations that begin with digits.
func (s *Store) EndedOperations(ctx context.Context, digits string) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id FROM operations WHERE substr(id, 1, ?) = ? AND last_event IS NOT NULL", len(digits), digits)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, explain(s.path, err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(s.path, err)
	}
	return ids, nil
}

// RequestedOperation returns the last event of the ended operation that a client
// requested with a key, or nil.
func (s *Store) RequestedOperation(ctx context.Context, request string) (*api.Event, error) {
	return s.lastEvent(ctx, "request", request)
}

func (s *Store) lastEvent(ctx context.Context, column, value string) (*api.Event, error) {
	var text string
	err := s.db.QueryRowContext(ctx, "SELECT last_event FROM operations WHERE "+column+" = ? AND last_event IS NOT NULL", value).Scan(&text)
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

// UnfinishedOperations returns the operations of earlier daemons, oldest first, and counts this attempt
// to resume them. On a full disk the count is not stored.
func (s *Store) UnfinishedOperations(ctx context.Context) ([]op.Unfinished, error) {
	err := s.durableIn(ctx, ordinary, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE operations SET attempts = attempts + 1 WHERE last_event IS NULL")
		return err
	})
	uncounted := 0
	if api.KindOf(err) == api.KindNoSpace {
		uncounted, err = 1, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := s.unfinished(ctx, uncounted)
	return all, explain(s.path, err)
}

func (s *Store) unfinished(ctx context.Context, uncounted int) ([]op.Unfinished, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT o.id, o.kind, o.target, o.step, o.undoing, o.attempts, o.started_at, coalesce(o.params, ''), o.deadline,
			coalesce(o.request, ''), o.settled, coalesce(v.generation > o.generation, 0)
		FROM operations o LEFT JOIN vms v ON v.id = o.target WHERE o.last_event IS NULL ORDER BY o.started_at, o.id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []op.Unfinished
	for rows.Next() {
		var u op.Unfinished
		var started int64
		var deadline sql.NullInt64
		if err := rows.Scan(&u.ID, &u.Kind, &u.Target, &u.Step, &u.Undoing, &u.Attempts, &started, &u.Params, &deadline,
			&u.Request, &u.Settled, &u.Superseded); err != nil {
			return nil, err
		}
		u.Attempts += uncounted
		u.Status, u.StartedAt = api.OpRunning, time.Unix(0, started)
		if deadline.Valid {
			at := time.Unix(0, deadline.Int64)
			u.Deadline = &at
		}
		all = append(all, u)
	}
	return all, rows.Err()
}

// settle marks an operation as settled, in the transaction that changes its object. Without an id it
// does nothing.
func settle(ctx context.Context, tx *sql.Tx, id string, how op.Settled) error {
	if id == "" || how == op.Unsettled {
		return nil
	}
	_, err := tx.ExecContext(ctx, "UPDATE operations SET settled = ? WHERE id = ?", how, id)
	return err
}

// Answer returns the answer to a request with a key, or nil.
func (s *Store) Answer(ctx context.Context, request string) ([]byte, error) {
	var text string
	err := s.db.QueryRowContext(ctx, "SELECT answer FROM answers WHERE request = ?", request).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return []byte(text), explain(s.path, err)
}

// PutAnswer stores the answer to a request with a key for keepTime.
func (s *Store) PutAnswer(ctx context.Context, request string, answer []byte) error {
	return s.quickIn(ctx, ordinary, func(tx *sql.Tx) error { return keepAnswer(ctx, tx, request, answer) })
}

func keepAnswer(ctx context.Context, tx *sql.Tx, request string, answer []byte) error {
	now := time.Now()
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO answers (request, answer, given_at) VALUES (?, ?, ?)", request, string(answer), now.UnixNano())
	if err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM answers WHERE given_at < ?", now.Add(-keepTime).UnixNano())
	}
	return err
}
