package store

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/op"
)

// older makes a store of an older schema, with a VM and an operation.
func older(t *testing.T, path string, version int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	statements := []string{"PRAGMA journal_mode=WAL"}
	for _, name := range migrations()[:version] {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		statements = append(statements, string(text))
	}
	statements = append(statements, "PRAGMA user_version="+string(rune('0'+version)),
		`INSERT INTO vms (id, name, created_at, record) VALUES ('a', 'dev', 1, '{"id":"a","name":"dev","state":"stopped","of_tomorrow":[1,2]}')`,
		"INSERT INTO operations (id, kind, target, step, started_at) VALUES ('1', 'vm.create', 'a', 'ready', 5)",
		"INSERT INTO operations (id, kind, target, step, started_at, last_event) VALUES ('2', 'vm.create', 'a', 'ready', 4, '{}')")
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestOlderStores: a store of any older schema is backed up and brought up to date, and
// nothing in it is lost; the backup is a store of that schema.
func TestOlderStores(t *testing.T) {
	for version := 1; version < len(migrations()); version++ {
		path := filepath.Join(t.TempDir(), "db")
		older(t, path, version)
		if found, err := Look(t.Context(), path); err != nil || found.Have != version || !found.Migrates() {
			t.Errorf("before: %+v, %v", found, err)
		}
		s := openTest(t, path)
		if found, err := Look(t.Context(), path); err != nil || found.Migrates() { // while its daemon runs
			t.Errorf("after: %+v, %v", found, err)
		}
		if vms, err := s.VMs(t.Context()); err != nil || len(vms) != 1 || vms[0].Name != "dev" {
			t.Errorf("VMs: %v, %v", vms, err)
		}
		left, err := s.UnfinishedOperations(t.Context())
		if err != nil || len(left) != 1 || left[0].Superseded || left[0].Settled != op.Unsettled {
			t.Errorf("operations: %+v, %v", left, err)
		}
		backup := path + ".v" + string(rune('0'+version)) + ".bak"
		if found, err := Look(t.Context(), backup); err != nil || found.Have != version {
			t.Errorf("the backup: %+v, %v", found, err)
		}
	}
}

// TestFieldsOfTomorrowStay: what a newer banger has written is there when it comes back.
func TestFieldsOfTomorrowStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	older(t, path, 1)
	s := openTest(t, path)
	if err := s.PutVM(t.Context(), api.VM{ID: "a", Name: "dev", State: api.StateRunning}); err != nil {
		t.Fatal(err)
	}
	var record string
	if err := s.db.QueryRow("SELECT record FROM vms").Scan(&record); err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(record), &fields); err != nil || string(fields["of_tomorrow"]) != "[1,2]" || string(fields["state"]) != `"running"` {
		t.Errorf("%s, %v", record, err)
	}
}

// TestOneBadRecordHarmsNoOther: it can be seen and deleted, and nothing is written over it.
func TestOneBadRecordHarmsNoOther(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "db"))
	for _, v := range []api.VM{vm("a", "one", 1), vm("b", "two", 2)} {
		if err := s.AddVM(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.db.Exec("UPDATE vms SET record = '{\"id\":' WHERE id = 'a'"); err != nil {
		t.Fatal(err)
	}
	all, err := s.VMs(t.Context())
	if err != nil || len(all) != 2 || all[0].ID != "a" || all[0].Name != "one" || all[0].State != api.StateFailed || !strings.Contains(all[0].Reason, "cannot be read") || all[1].Name != "two" {
		t.Errorf("%+v, %v", all, err)
	}
	// One with a field that became another type keeps what others must not take from it.
	if _, err := s.db.Exec(`UPDATE vms SET record = '{"id":"b","name":"two","driver":{"of":"tomorrow"},"slot":7,"image_digest":"i","kernel_digest":"k","disk_bytes":5}' WHERE id = 'b'`); err != nil {
		t.Fatal(err)
	}
	newer, err := s.VMs(t.Context())
	if err != nil || newer[1].State != api.StateFailed || newer[1].Driver != "" || newer[1].Slot != 7 || newer[1].ImageDigest != "i" || newer[1].KernelDigest != "k" || newer[1].DiskBytes != 5 {
		t.Errorf("%+v, %v", newer, err)
	}
	if err := s.PutVM(t.Context(), all[0]); err == nil {
		t.Error("what cannot be read is written over")
	}
	if err := s.DeleteVM(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// TestFences: what is recorded of operations and of the VM they work on.
func TestFences(t *testing.T) {
	ctx := t.Context()
	s := openTest(t, filepath.Join(t.TempDir(), "db"))
	if err := s.AddVM(ctx, vm("a", "dev", 1)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Hour)
	for i, row := range []api.Operation{
		{ID: "1", Kind: "vm.start", Target: "a", Params: `{"x":1}`, Deadline: &deadline, Request: "key"},
		{ID: "2", Kind: "vm.start", Target: "a"},
		{ID: "3", Kind: "vm.kill", Target: "a"},
		{ID: "4", Kind: "image.pull", Target: "debian"},
	} {
		row.StartedAt = time.Unix(int64(i), 0)
		if err := s.BeginOperation(ctx, row); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.BeginOperation(ctx, api.Operation{ID: "5", Kind: "vm.start", Target: "a", Request: "key"}); err == nil {
		t.Error("one request begins two operations")
	}
	if err := s.SettleVM(ctx, vm("a", "settled", 1), "2", op.SettledDone); err != nil {
		t.Fatal(err)
	}
	left, err := s.UnfinishedOperations(ctx)
	if err != nil || len(left) != 4 {
		t.Fatal(left, err)
	}
	for i, superseded := range []bool{true, false, false, false} {
		if left[i].Superseded != superseded || (left[i].Settled == op.SettledDone) != (i == 1) {
			t.Errorf("%+v", left[i])
		}
	}
	if u := left[0]; u.Params != `{"x":1}` || !u.Deadline.Equal(deadline) || u.Request != "key" {
		t.Errorf("%+v", u)
	}
	if err := s.EndOperation(ctx, api.Event{Operation: &left[0].Operation}); err != nil {
		t.Fatal(err)
	}
	if last, err := s.RequestedOperation(ctx, "key"); err != nil || last == nil || last.Operation.ID != "1" {
		t.Errorf("%v, %v", last, err)
	}
	if err := s.PutAnswer(ctx, "other", []byte("said")); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"other": "said", "third": ""} {
		if answer, err := s.Answer(ctx, key); err != nil || string(answer) != want {
			t.Errorf("%s: %s, %v", key, answer, err)
		}
	}
}

// TestRecentEndsAreKept: a client that comes back finds its operation, however many have
// ended meanwhile.
func TestRecentEndsAreKept(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "db"))
	now := time.Now()
	for i := range keepEnded + 5 {
		row := api.Operation{ID: string(rune('a' + i)), StartedAt: now.Add(time.Duration(i) - time.Hour), FinishedAt: &now}
		if err := s.BeginOperation(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		if err := s.EndOperation(t.Context(), api.Event{Operation: &row}); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := s.EndedOperation(t.Context(), "a"); err != nil || last == nil {
		t.Errorf("%v, %v", last, err)
	}
}
