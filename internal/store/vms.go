package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"banger/api"
	"banger/internal/op"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNotFound is returned for a VM that is not in the store.
var ErrNotFound = errors.New("not in the store")

// AddVM records a new VM. If the name is already used, the error is of kind exists.
func (s *Store) AddVM(ctx context.Context, v api.VM) error {
	return s.quickIn(ctx, ordinary, func(tx *sql.Tx) error {
		record, err := json.Marshal(rowOf(v))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO vms (id, name, created_at, record) VALUES (?, ?, ?, ?)",
			v.ID, v.Name, v.CreatedAt.UnixNano(), string(record))
		return taken(v.Name, err)
	})
}

// PutVM replaces a VM's record. Fields that only a newer banger knows stay.
func (s *Store) PutVM(ctx context.Context, v api.VM) error {
	return s.SettleVM(ctx, v, "", op.Unsettled)
}

// SettleVM is PutVM, and settles the operation of that id in the same transaction:
// its outcome is final then, whether or not its end will be recorded.
func (s *Store) SettleVM(ctx context.Context, v api.VM, operation string, how op.Settled) error {
	return s.putVM(ctx, v, func(tx *sql.Tx) error { return settle(ctx, tx, operation, how) })
}

// AnswerVM is PutVM, and stores the answer to the request with a key in the same transaction.
func (s *Store) AnswerVM(ctx context.Context, v api.VM, request string, answer []byte) error {
	return s.putVM(ctx, v, func(tx *sql.Tx) error { return keepAnswer(ctx, tx, request, answer) })
}

func (s *Store) putVM(ctx context.Context, v api.VM, with func(tx *sql.Tx) error) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		var old string
		err := tx.QueryRowContext(ctx, "SELECT record FROM vms WHERE id = ?", v.ID).Scan(&old)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("VM %s: %w", v.ID, ErrNotFound)
		}
		if err != nil {
			return err
		}
		record, err := overwrite(old, v)
		if err != nil {
			return fmt.Errorf("the record of VM %s: %w", v.ID, err)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE vms SET name = ?, record = ? WHERE id = ?", v.Name, record, v.ID); err != nil {
			return taken(v.Name, err)
		}
		return with(tx)
	})
}

// known are the fields of a VM's record that this banger knows.
var known = func() map[string]bool {
	fields := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[vmRow]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[name] = true
	}
	return fields
}()

// overwrite replaces an older record by v, and keeps the fields of it that
// are unknown: those of a newer banger, which may be installed again after a rollback.
func overwrite(old string, v api.VM) (string, error) {
	var had, has map[string]json.RawMessage
	record, err := json.Marshal(rowOf(v))
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(old), &had), json.Unmarshal(record, &has))
	}
	if err != nil {
		return "", err
	}
	maps.DeleteFunc(had, func(name string, _ json.RawMessage) bool { return known[name] })
	if len(had) == 0 {
		return string(record), nil
	}
	maps.Copy(has, had)
	record, err = json.Marshal(has)
	return string(record), err
}

func taken(name string, err error) error {
	var se *sqlite.Error
	if errors.As(err, &se) && se.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return Taken(name)
	}
	return err
}

// Taken returns the error of a name that another VM has.
func Taken(name string) error {
	return api.Errorf(api.KindExists, "a VM named %q exists already", name).
		WithHint("choose another name, or: banger vm delete %s (--force if it runs)", name)
}

// DeleteVM removes a VM's record. It succeeds if there is none.
func (s *Store) DeleteVM(ctx context.Context, id string) error {
	return s.quick(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM vms WHERE id = ?", id)
		return err
	})
}

// VMs returns all VMs, oldest first. A VM whose record cannot be read is returned as failed, so that it
// can be deleted: it does not affect the others.
func (s *Store) VMs(ctx context.Context) ([]api.VM, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, name, created_at, record FROM vms ORDER BY created_at, id")
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	var all []api.VM
	for rows.Next() {
		var id, name, record string
		var created int64
		var row vmRow
		if err := rows.Scan(&id, &name, &created, &record); err != nil {
			return nil, explain(s.path, err)
		}
		err := json.Unmarshal([]byte(record), &row)
		v := row.vm()
		if err != nil {
			// Of a record of a newer version, the known fields were read.
			v = api.VM{ID: id, Name: name, CreatedAt: time.Unix(0, created), State: api.StateFailed,
				Slot: v.Slot, ImageDigest: v.ImageDigest, KernelDigest: v.KernelDigest, DiskBytes: v.DiskBytes,
				Reason: "its record in the store cannot be read: " + err.Error()}
		}
		all = append(all, v)
	}
	return all, explain(s.path, rows.Err())
}
