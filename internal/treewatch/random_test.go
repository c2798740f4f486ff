package treewatch

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// model is what a user of Watch knows: it looks again at what was reported, and at nothing else.
type model struct {
	dir  string
	seen map[string]string // the names in each directory, with what each is
}

// look looks at one directory. Those in it that are gone, it forgets.
func (m *model) look(dir string) {
	entries, err := os.ReadDir(filepath.Join(m.dir, dir))
	if err != nil {
		m.forget(dir)
		return
	}
	var b strings.Builder
	there := map[string]bool{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // another event says so
		}
		size := info.Size()
		if e.IsDir() {
			size = 0
			there[join(dir, e.Name())] = true
		}
		fmt.Fprintf(&b, "%s %v %d\n", e.Name(), e.Type(), size)
	}
	m.seen[dir] = b.String()
	for known := range m.seen {
		if known != "." && path.Dir(known) == dir && !there[known] {
			m.forget(known)
		}
	}
}

func (m *model) forget(dir string) {
	for known := range m.seen {
		if known == dir || strings.HasPrefix(known, dir+"/") {
			delete(m.seen, known)
		}
	}
}

// scan looks at everything.
func (m *model) scan(t testing.TB) {
	clear(m.seen)
	must(t, filepath.WalkDir(m.dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			rel, _ := filepath.Rel(m.dir, name)
			m.look(rel)
		}
		return nil
	}))
}

func (m *model) String() string {
	var b strings.Builder
	for _, dir := range slices.Sorted(maps.Keys(m.seen)) {
		fmt.Fprintf(&b, "%s:\n%s", dir, m.seen[dir])
	}
	return b.String()
}

// TestNothingIsMissed: several programs change a tree at random. Whoever looks at what is reported,
// and nothing else, knows all of it in the end.
func TestNothingIsMissed(t *testing.T) {
	for seed := range uint64(6) {
		dir := inMemory(t)
		must(t, os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755))
		e := watch(t, dir)
		m, want := &model{dir, map[string]string{}}, &model{dir, map[string]string{}}
		m.scan(t)
		var work sync.WaitGroup
		for n := range uint64(3) {
			work.Go(func() { scramble(rand.New(rand.NewPCG(seed, n)), dir) })
		}
		done := make(chan struct{})
		go func() {
			work.Wait()
			_ = os.WriteFile(filepath.Join(dir, "the end"), nil, 0o600)
			close(done)
		}()
		finished := func() bool {
			select {
			case <-done:
				return true
			default:
				return false
			}
		}
		var ended time.Time
		for ended.IsZero() || time.Since(ended) < 3*longest {
			select {
			case event := <-e.next:
				if event.All {
					m.scan(t)
				}
				for _, dir := range event.Dirs {
					m.look(dir)
				}
				ended = time.Time{}
			case <-time.After(longest):
			}
			if finished() && ended.IsZero() {
				ended = time.Now()
			}
		}
		if want.scan(t); m.String() != want.String() {
			t.Fatalf("seed %d: known is\n%s\nthere is\n%s", seed, m, want)
		}
	}
}

// scramble changes a tree at random. What fails, as another did something else, does not matter.
func scramble(r *rand.Rand, dir string) {
	name := func() string {
		parts := []string{dir}
		for range 1 + r.IntN(4) {
			parts = append(parts, string(rune('a'+r.IntN(4))))
		}
		return filepath.Join(parts...)
	}
	for range 400 {
		switch r.IntN(8) {
		case 0, 1:
			_ = os.MkdirAll(name(), 0o755)
		case 2, 3:
			_ = os.Rename(name(), name())
		case 4:
			_ = os.RemoveAll(name())
		default:
			_ = os.WriteFile(name(), make([]byte, r.IntN(1000)), 0o600)
		}
	}
}
