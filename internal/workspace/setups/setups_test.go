package setups_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
	"banger/internal/workspace/setups"
)

func setup(id string, used time.Duration) setups.Setup {
	return setups.Setup{ID: id, Key: "key of " + id, Used: time.Unix(0, 0).Add(used).UTC()}
}

func ids(t *testing.T, s setups.Store) (all []string) {
	t.Helper()
	found, err := s.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		all = append(all, f.ID)
	}
	return all
}

func TestStore(t *testing.T) {
	s := setups.In(filepath.Join(t.TempDir(), "setups"))
	if got := ids(t, s); got != nil {
		t.Errorf("an empty store has %q", got)
	}
	// Names are of any bytes, and JSON would change these.
	files := setups.Files{
		Tree:    map[string]objects.Entry{"caf\xe9": {Mode: objects.ModeFile, ID: "1"}},
		Entries: []incoming.Entry{{Path: "caf\xe9", Type: incoming.TypeFile, MTime: 1 << 60}},
	}
	for n, id := range []string{"a", "b", "c"} {
		if err := s.Begin(setup(id, time.Duration(n)), files); err != nil {
			t.Fatal(err)
		}
	}
	used := setup("a", time.Hour)
	used.Image = "sha256:a"
	if err := s.Save(used); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "c", "b"}, ids(t, s)); diff != "" {
		t.Errorf("that used last is not the first: %s", diff)
	}
	got, err := s.Files("a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Error(diff)
	}
	for range 2 { // the second time there is nothing to remove
		if err := s.Remove("c"); err != nil {
			t.Fatal(err)
		}
	}
	// A second image of one key has another record.
	if err := s.Begin(setup("a", 0), setups.Files{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "a"}, ids(t, s)); diff != "" {
		t.Error(diff)
	}
	if all, _ := s.All(); all[1].Image != "" {
		t.Errorf("the image of the former setup is that of the new one: %+v", all[1])
	}
}

// TestDamaged: what cannot be read is lost, and keeps nobody from the rest.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	s := setups.In(dir)
	for _, id := range []string{"a", "b", "c", "d"} {
		if err := s.Begin(setup(id, 0), setups.Files{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"a/setup.json": "{", "b/setup.json": `{"ID": "../c"}`, "d/files": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"c", "d"}, ids(t, s)); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Files("d"); err == nil {
		t.Error("damaged files were read")
	}
}

// TestBeginFails leaves no half of a record.
func TestBeginFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "setups"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := setups.In(filepath.Join(dir, "setups")).Begin(setup("a", 0), setups.Files{}); err == nil {
		t.Error("a record was made in a file")
	}
}
