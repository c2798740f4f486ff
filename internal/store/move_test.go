package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

func TestLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	known := len(migrations())
	if s, err := Look(t.Context(), path); err != nil || s.Have != known || s.Known != known || s.Migrates() {
		t.Errorf("no store: %+v, %v", s, err)
	}
	st := openTest(t, path)
	if err := st.AddVM(t.Context(), vm("a", "one", 1)); err != nil {
		t.Fatal(err)
	}
	// The daemon may be running.
	if s, err := Look(t.Context(), path); err != nil || s.Migrates() {
		t.Errorf("up to date: %+v, %v", s, err)
	}
	for version, migrates := range map[string]bool{"0": true, "99": false} {
		if _, err := st.db.Exec("PRAGMA user_version=" + version); err != nil {
			t.Fatal(err)
		}
		s, err := Look(t.Context(), path)
		if (err == nil) != migrates || err == nil && !s.Migrates() {
			t.Errorf("schema %s: %+v, %v", version, s, err)
		}
	}
}

func TestBackUpAndRestore(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "db")
	if err := BackUp(ctx, path, "v1.0.0"); err != nil {
		t.Fatalf("no store: %v", err)
	}
	if err := Restore(ctx, path, "v1.0.0"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("no backup: %v", err)
	}
	s := openTest(t, path)
	if err := s.AddVM(ctx, vm("a", "one", 1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := BackUp(ctx, path, "v1.0.0"); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, path)
	if err := s.AddVM(ctx, vm("b", "two", 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Exec("PRAGMA user_version=99"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	// A daemon that was killed leaves its write-ahead log, which is not the copy's.
	if err := os.WriteFile(path+"-wal", []byte("of another store"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Interrupted, it is done again: before the store is replaced, and afterwards.
	if err := putAside(ctx, path, updateBackup(path, "v1.0.0")); err != nil {
		t.Fatal(err)
	}
	written := content(t, path)
	for range 2 {
		if err := Restore(ctx, path, "v1.0.0"); err != nil {
			t.Fatal(err)
		}
	}
	s = openTest(t, path)
	if got, err := s.VMs(ctx); err != nil || len(got) != 1 || got[0].ID != "a" {
		t.Errorf("restored: %v, %v", got, err)
	}
	if content(t, replaced(path, 1)) != written {
		t.Error("what was written since the copy is not kept")
	}
	if _, err := os.Stat(replaced(path, 2)); err == nil {
		t.Error("the same is kept twice, or the copy")
	}
	// A daemon that ran in between has written too, and takes nothing's place.
	if err := errors.Join(s.AddVM(ctx, vm("c", "three", 3)), s.Close(), Restore(ctx, path, "v1.0.0")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(replaced(path, 2)); err != nil || content(t, replaced(path, 1)) != written {
		t.Error("what was written first is not kept, or not what was written then", err)
	}
}

func TestRestoreRefusesADamagedCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	openTest(t, path).Close()
	if err := os.WriteFile(updateBackup(path, "v1.0.0"), []byte("no database at all, but some text"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := content(t, path)
	if err := Restore(t.Context(), path, "v1.0.0"); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if content(t, path) != before {
		t.Error("the store was changed")
	}
}
