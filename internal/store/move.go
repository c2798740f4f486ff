package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fsx"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Schema compares the schema of a store with that of this program.
type Schema struct{ Have, Known int }

// Migrates reports whether Open would change the schema.
func (s Schema) Migrates() bool { return s.Have < s.Known }

// Look returns what Open would do, and changes nothing. It fails if Open would
// refuse: a newer schema, or a damaged file. A store that does not exist has
// the schema that it would get.
func Look(ctx context.Context, path string) (Schema, error) {
	s := Schema{Known: len(migrations())}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		s.Have = s.Known
		return s, nil
	}
	err = checkBeforeOpening(ctx, path)
	if isBusy(err) { // its daemon looks after it; what matters here is in the files
		err = withCopy(path, func(copied string) (err error) {
			s.Have, err = schemaOf(ctx, copied)
			return errors.Join(err, checkSchema(path, s.Have))
		})
		return s, err
	}
	if err == nil {
		s.Have, err = schemaOf(ctx, path)
	}
	return s, err
}

// isBusy reports whether a daemon has made itself the only user of a store.
func isBusy(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && se.Code()&0xff == sqlite3.SQLITE_BUSY
}

// withCopy calls use with a copy of the store and its write-ahead log. The daemon may be writing to
// both, so only the schema in the copy is reliable.
func withCopy(path string, use func(copied string) error) error {
	dir, err := os.MkdirTemp("", "banger-store-*")
	if err != nil {
		return fsx.DiskError("look at the store", err)
	}
	defer os.RemoveAll(dir)
	copied := filepath.Join(dir, "store")
	err = copyFile(path, copied)
	if err == nil {
		err = copyFile(path+"-wal", copied+"-wal")
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fsx.DiskError("look at the store", err)
	}
	return use(copied)
}

func schemaOf(ctx context.Context, path string) (version int, err error) {
	db, err := open(path, "ro", shared)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return version, explain(path, err)
}

// updateBackup returns the name of the copy of a store that an update from a version makes.
func updateBackup(path, version string) string { return path + ".update-" + version + ".bak" }

// BackUp writes a complete and durable copy of the store at path beside it, and replaces an older one
// of the same name. No daemon may run. Without a store it makes no copy.
func BackUp(ctx context.Context, path, name string) error {
	to := updateBackup(path, name)
	fresh := to + ".new"
	if err := errors.Join(remove(fresh), remove(to)); err != nil {
		return fsx.DiskError("back up the store", err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	db, err := open(path, "rw", shared)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", fresh)
	if err = errors.Join(explain(path, err), db.Close()); err != nil {
		return err
	}
	if err := syncFile(fresh); err != nil {
		return fsx.DiskError("back up the store", err)
	}
	return fsx.DiskError("back up the store", errors.Join(os.Rename(fresh, to), fsx.SyncDir(filepath.Dir(to))))
}

// Restore replaces the store by a copy of BackUp, and keeps the replaced store under another name. No
// daemon may run. It can be repeated: the copy stays.
func Restore(ctx context.Context, path, name string) error {
	from := updateBackup(path, name)
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return api.Errorf(api.KindNotFound, "cannot restore the store: the backup %s does not exist", from)
	}
	if err := checkCopy(ctx, from); err != nil {
		return err
	}
	fresh := path + ".restored"
	if err := copyFile(from, fresh); err != nil {
		return fsx.DiskError("restore the store", err)
	}
	err := putAside(ctx, path, fresh)
	if err == nil {
		err = replace(fresh, path)
	}
	return fsx.DiskError("restore the store", err)
}

// checkCopy refuses a copy that is not a valid store.
func checkCopy(ctx context.Context, path string) error {
	if err := checkBeforeOpening(ctx, path); err != nil {
		return fmt.Errorf("the backup: %w", err)
	}
	return nil
}

// putAside keeps the data that was written since the copy, for inspection: the last writes are still
// in the write-ahead log, which stays separate if the store is damaged. It keeps nothing if the store
// is the copy itself, as after a repeated restore.
func putAside(ctx context.Context, path, copied string) error {
	if db, err := open(path, "rw", shared); err == nil {
		_, _ = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		_ = db.Close()
	}
	equal, err := equalFiles(path, copied)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || equal {
		return err
	}
	return linkAside(path)
}

func equalFiles(one, other string) (bool, error) {
	a, err := os.ReadFile(one)
	if err != nil {
		return false, err
	}
	b, err := os.ReadFile(other)
	return bytes.Equal(a, b), err
}

func linkAside(path string) error {
	for n := 1; ; n++ {
		err := os.Link(path, replaced(path, n))
		if !errors.Is(err, os.ErrExist) {
			return err
		}
		here, err := os.Stat(path)
		if err != nil {
			return err
		}
		if there, err := os.Stat(replaced(path, n)); err == nil && os.SameFile(here, there) {
			return nil // by a run that was interrupted before it was replaced
		}
	}
}

// replaced returns the name for the store that a restored copy replaces. An earlier one stays: if a
// restore is repeated, it is the one with the written data.
func replaced(path string, n int) string {
	if n == 1 {
		return path + ".replaced"
	}
	return fmt.Sprintf("%s.replaced-%d", path, n)
}

// replace replaces the store by fresh. The write-ahead log of the old store would be applied to the new
// one, so it is removed first; a crash in between does no harm, because the old store is not needed any
// more.
func replace(fresh, path string) error {
	dir := filepath.Dir(path)
	if err := errors.Join(remove(path+"-wal"), remove(path+"-shm"), fsx.SyncDir(dir)); err != nil {
		return err
	}
	return errors.Join(os.Rename(fresh, path), fsx.SyncDir(dir))
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from) // some hundred KiB
	if err != nil {
		return err
	}
	return fsx.WriteFile(to, data, 0o600)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
