package digeststore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// thing is the record of an object, as large as that of an image from a registry.
type thing struct {
	Source    string
	CreatedAt time.Time
	Text      []string
	Size      int64 `json:"-"`
}

func things() Kind[thing] {
	return Kind[thing]{
		Name: "thing", Plural: "things", ListCommand: "banger thing list",
		Read: func(dir, _ string) (thing, error) {
			var o thing
			err := ReadMeta(dir, &o)
			o.Size = fsx.Usage(dir)
			return o, err
		},
		Created: func(o thing) time.Time { return o.CreatedAt },
	}
}

func open(t testing.TB, dir string) *Store[thing] {
	t.Helper()
	s, err := Open(filepath.Join(dir, "things"), filepath.Join(dir, "staging"), things())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put makes an object by hand.
func put(t testing.TB, s *Store[thing], hex string, o thing) {
	t.Helper()
	if err := os.Mkdir(s.Path(hex), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fsx.WriteJSON(s.Path(hex, MetaFile), o); err != nil {
		t.Fatal(err)
	}
}

// TestFindByTheBeginningOfADigest: four digits at least, and of several that begin so
// none is taken; an exact name wins.
func TestFindByTheBeginningOfADigest(t *testing.T) {
	s := open(t, t.TempDir())
	l := s.Lock()
	defer l.Unlock()
	for begin, name := range map[string]string{"abcd1": "one", "abcd2": "two", "feed": "abcd"} {
		hex := begin + strings.Repeat("0", 64-len(begin))
		put(t, s, hex, thing{})
		if _, err := l.Name(hex, name); err != nil {
			t.Fatal(err)
		}
	}
	for ref, want := range map[string]string{"one": "one", "abcd": "abcd", "abcd1": "one", "sha256:abcd2": "two", "feed": "abcd"} {
		if got, ok, err := l.Get(ref); err != nil || !ok || got.Names[0] != want {
			t.Errorf("%s: %v, %v, %v", ref, got.Names, ok, err)
		}
	}
	for _, ref := range []string{"fee", "sha256:fee", "abcd3"} {
		if _, ok, err := l.Get(ref); ok || err != nil {
			t.Errorf("%q: %v, %v", ref, ok, err)
		}
	}
	_, ok, err := l.Get("sha256:abcd")
	if ok || api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "2 things: one (abcd10000000), two (abcd20000000)") || api.AsError(err).Hint != "banger thing list" {
		t.Errorf("got %v", err)
	}
}

// TestStoreSurvives: what was committed and named is there for the next daemon, and what
// was removed or has lost its name is not.
func TestStoreSurvives(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	l := s.Lock()
	for n := range 3 {
		staged, err := s.Stage()
		if err != nil {
			t.Fatal(err)
		}
		if err := fsx.WriteJSON(filepath.Join(staged, MetaFile), thing{CreatedAt: time.Unix(int64(10-n), 0)}); err != nil {
			t.Fatal(err)
		}
		if e, err := l.Commit(staged, fmt.Sprintf("%064x", n), fmt.Sprint("name", n), fmt.Sprint("other", n)); err != nil || len(e.Names) != 2 {
			t.Fatal(e, err)
		}
	}
	if err := l.Drop("name0", "other0", "name1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(fmt.Sprintf("%064x", 0)); err != nil {
		t.Fatal(err)
	}
	l.Unlock()
	again := open(t, dir).Lock()
	defer again.Unlock()
	all, err := again.List()
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	for n, want := range []string{"[name2 other2]", "[other1]"} { // oldest first
		if fmt.Sprint(all[n].Names) != want {
			t.Errorf("%v, want %s", all[n].Names, want)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "staging")); err != nil || len(left) > 0 {
		t.Errorf("left in staging: %v %v", left, err)
	}
}

// TestUnreadableNames says which file to remove.
func TestUnreadableNames(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := os.WriteFile(s.Path("names.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(dir, "things"), filepath.Join(dir, "staging"), things())
	if err == nil || !strings.Contains(err.Error(), "cannot read the names of the things") || !strings.Contains(api.AsError(err).Hint, s.Path("names.json")) {
		t.Errorf("got %v", err)
	}
}
