package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/fsx/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	fullMain()
	goleak.VerifyTestMain(m, synctest.Leak)
}

func openTest(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func vm(id, name string, at int64) api.VM {
	return api.VM{ID: id, Name: name, State: api.StateStopped, CreatedAt: time.Unix(at, 0).UTC(), VCPUs: 2}
}

func TestVMs(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "odd ?name#%", "banger.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, path)
	second, first := vm("b", "two", 2), vm("a", "one", 1)
	for _, v := range []api.VM{second, first} {
		if err := s.AddVM(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddVM(ctx, vm("c", "one", 3)); api.KindOf(err) != api.KindExists {
		t.Errorf("a taken name gives %v", err)
	}
	second.Name = "one"
	if err := s.PutVM(ctx, second); api.KindOf(err) != api.KindExists {
		t.Errorf("renaming to a taken name gives %v", err)
	}
	second.Name, second.State = "deux", api.StateRunning
	if err := s.PutVM(ctx, second); err != nil {
		t.Fatal(err)
	}
	if err := s.PutVM(ctx, vm("zz", "zz", 1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("writing an unknown VM gives %v", err)
	}
	s.Close()
	s = openTest(t, path)
	got, err := s.VMs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]api.VM{first, second}, got); diff != "" {
		t.Error(diff)
	}
	for range 2 { // absent is success
		if err := s.DeleteVM(ctx, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ = s.VMs(ctx); len(got) != 1 {
		t.Errorf("after a delete: %v", got)
	}
}

func TestOperations(t *testing.T) {
	ctx := t.Context()
	s := openTest(t, filepath.Join(t.TempDir(), "db"))
	row := api.Operation{ID: "1", Kind: "vm.create", Target: "a", Step: "kernel", StartedAt: time.Unix(5, 7)}
	if err := s.BeginOperation(ctx, row); err != nil {
		t.Fatal(err)
	}
	if err := s.EnterStep(ctx, "1", "disk", true); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; attempt <= 2; attempt++ {
		left, err := s.UnfinishedOperations(ctx)
		if err != nil || len(left) != 1 {
			t.Fatal(left, err)
		}
		u := left[0]
		if u.Kind != "vm.create" || u.Target != "a" || u.Step != "disk" || !u.Undoing || u.Attempts != attempt || !u.StartedAt.Equal(row.StartedAt) {
			t.Errorf("got %+v", u)
		}
	}
	if err := s.PutBack(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if left, err := s.UnfinishedOperations(ctx); err != nil || left[0].Attempts != 2 {
		t.Errorf("put back: %+v, %v", left, err)
	}
	if err := s.EnterStep(ctx, "1", "ready", false); err != nil {
		t.Fatal(err)
	}
	if left, err := s.UnfinishedOperations(ctx); err != nil || left[0].Attempts != 1 {
		t.Errorf("a step further: %+v, %v", left, err)
	}
	row.Status = api.OpDone
	if err := s.EndOperation(ctx, api.Event{Operation: &row, Result: &api.Result{VM: &api.VM{Name: "dev"}}}); err != nil {
		t.Fatal(err)
	}
	if last, err := s.EndedOperation(ctx, "1"); err != nil || last == nil || last.Operation.Status != api.OpDone || last.Result.VM.Name != "dev" {
		t.Error(last, err)
	}
	if last, err := s.EndedOperation(ctx, "2"); err != nil || last != nil {
		t.Error(last, err)
	}
	if left, err := s.UnfinishedOperations(ctx); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
}

func TestNewerSchemaIsRefusedUntouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openTest(t, path)
	if _, err := s.db.Exec("PRAGMA user_version=99"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	before := content(t, path)
	_, err := Open(t.Context(), path)
	if api.KindOf(err) != api.KindUnsupported || !strings.Contains(err.Error(), "schema 99") || api.AsError(err).Hint == "" {
		t.Errorf("error is %v", err)
	}
	if content(t, path) != before {
		t.Error("the file was changed")
	}
}

func TestDamagedStoreIsRefusedUntouched(t *testing.T) {
	for name, damage := range map[string]func(data []byte) []byte{
		"not a database": func([]byte) []byte { return []byte(strings.Repeat("this is no database. ", 400)) },
		"torn pages": func(data []byte) []byte {
			for i := 4096; i < len(data); i++ {
				data[i] = 0xa5
			}
			return data
		},
		"cut short": func(data []byte) []byte { return data[:len(data)-5000] },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			s := openTest(t, path)
			if err := s.AddVM(t.Context(), vm("a", "one", 1)); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if err := os.WriteFile(path, damage([]byte(content(t, path))), 0o600); err != nil {
				t.Fatal(err)
			}
			before := content(t, path)
			_, err := Open(t.Context(), path)
			if err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(api.AsError(err).Hint, "backup") {
				t.Errorf("error is %v", err)
			}
			if content(t, path) != before {
				t.Error("the file was changed")
			}
		})
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBackupBeforeMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openTest(t, path)
	if err := s.AddVM(t.Context(), vm("a", "one", 1)); err != nil {
		t.Fatal(err)
	}
	// That a migration does so is tested with an older store: back up by hand.
	if err := s.backup(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	b := openTest(t, path+".v1.bak")
	if got, err := b.VMs(t.Context()); err != nil || len(got) != 1 || got[0].Name != "one" {
		t.Error(got, err)
	}
	// A second backup of the same version replaces the first.
	if err := s.backup(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func TestWritersDoNotMix(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "db"))
	done := make(chan error)
	for i := range 8 {
		go func() {
			var err error
			for n := range 20 {
				id := string(rune('a'+i)) + string(rune('a'+n))
				err = errors.Join(err, s.AddVM(context.Background(), vm(id, id, int64(n))),
					s.durable(context.Background(), func(*sql.Tx) error { return nil }))
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got, err := s.VMs(t.Context()); err != nil || len(got) != 160 {
		t.Errorf("%d VMs, %v", len(got), err)
	}
}

func TestOldOperationsAreForgotten(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "db"))
	for i := range keepEnded + 5 {
		row := api.Operation{ID: strconv.Itoa(i), StartedAt: time.Unix(int64(i), 0)}
		if err := errors.Join(s.BeginOperation(t.Context(), row), s.EndOperation(t.Context(), api.Event{Operation: &row})); err != nil {
			t.Fatal(err)
		}
	}
	for id, kept := range map[string]bool{"0": false, "4": false, "5": true, strconv.Itoa(keepEnded + 4): true} {
		if last, err := s.EndedOperation(t.Context(), id); err != nil || (last != nil) != kept {
			t.Errorf("operation %s: %v, %v", id, last, err)
		}
	}
}
