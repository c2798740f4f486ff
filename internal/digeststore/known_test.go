package digeststore

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// many is a store of n objects as large as images of a registry: some kilobytes of
// configuration, five layers, a name.
func many(t testing.TB, n int) (*Store[thing], []string) {
	t.Helper()
	s, hexes := open(t, t.TempDir()), make([]string, n)
	names := map[string]string{}
	for i := range n {
		hexes[i] = fmt.Sprintf("%064x", i*7919+1<<40)
		o := thing{Source: "a registry", CreatedAt: time.Unix(int64(i), 0)}
		for range 20 {
			o.Text = append(o.Text, strings.Repeat("RUN x ", 30))
		}
		put(t, s, hexes[i], o)
		for _, file := range []string{"rootfs.ext4", "disk-8589934592.ext4"} {
			if err := os.WriteFile(s.Path(hexes[i], file), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		names[fmt.Sprintf("image%d", i)] = hexes[i]
	}
	s.names = names
	return s, hexes
}

// list is Locked.List.
func list(s *Store[thing]) ([]Entry[thing], error) {
	l := s.Lock()
	defer l.Unlock()
	return l.List()
}

// get is Locked.Get.
func get(s *Store[thing], ref string) (Entry[thing], error) {
	l := s.Lock()
	defer l.Unlock()
	e, ok, err := l.Get(ref)
	if err == nil && !ok {
		err = os.ErrNotExist
	}
	return e, err
}

// BenchmarkMany is what requests cost with 1,000 objects.
func BenchmarkMany(b *testing.B) {
	s, hexes := many(b, 1000)
	time.Sleep(settleTime + 100*time.Millisecond)
	b.Run("first List", func(b *testing.B) {
		for b.Loop() {
			clear(s.known)
			_, _ = list(s)
		}
	})
	b.Run("List", func(b *testing.B) {
		for b.Loop() {
			if all, err := list(s); err != nil || len(all) != len(hexes) {
				b.Fatal(len(all), err)
			}
		}
	})
	for name, ref := range map[string]string{"GetByName": "image500", "GetByDigest": "sha256:" + hexes[500], "GetByPrefix": hexes[500][:62]} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := get(s, ref); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Usage", func(b *testing.B) {
		for b.Loop() {
			s.Usage()
		}
	})
}

// TestObjectsAreReadOnce: a list of those that have not changed reads none again.
func TestObjectsAreReadOnce(t *testing.T) {
	const n = 50
	s, hexes := many(t, n)
	time.Sleep(settleTime + 100*time.Millisecond)
	if all, err := list(s); err != nil || len(all) != n {
		t.Fatal(len(all), err)
	}
	// Reading one makes some 200 allocations, looking whether it has changed a dozen.
	if each := testing.AllocsPerRun(3, func() { _, _ = list(s) }) / n; each > 50 {
		t.Errorf("%.0f allocations for each object", each)
	}
	if err := os.RemoveAll(s.Path(hexes[0])); err != nil {
		t.Fatal(err)
	}
	if all, err := list(s); err != nil || len(all) != n-1 || len(s.known) != n-1 {
		t.Errorf("%d objects, %d are remembered, %v", len(all), len(s.known), err)
	}
}

// TestChangesOfOthersAreSeen, made by hand or by another program, however soon after
// another change they come.
func TestChangesOfOthersAreSeen(t *testing.T) {
	s, hexes := many(t, 3)
	path := func(name string) string { return s.Path(hexes[1], name) }
	edit := func(source string) error {
		var m thing
		if err := s.Meta(hexes[1], &m); err != nil {
			return err
		}
		m.Source = source
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return os.WriteFile(path(MetaFile), data, 0o600)
	}
	seen := func() string {
		all, err := list(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all {
			if one, err := get(s, i.Digest()); err != nil || one.Object.Source != i.Object.Source || one.Object.Size != i.Object.Size {
				t.Errorf("%+v, in a list %+v, %v", one, i, err)
			}
			if i.Hex == hexes[1] {
				return fmt.Sprint(i.Object.Source, i.Object.Size, i.Names)
			}
		}
		return "gone"
	}
	for _, pause := range []time.Duration{0, settleTime + 100*time.Millisecond} {
		before := seen()
		for name, change := range map[string]func() error{
			"another file":        func() error { return os.WriteFile(path(fmt.Sprint("disk-", pause)), []byte("x"), 0o600) },
			"the record in place": func() error { return edit(fmt.Sprint("source ", int64(pause))) },
			"a name": func() error {
				l := s.Lock()
				defer l.Unlock()
				_, err := l.Name(hexes[1], fmt.Sprint("name", int64(pause)))
				return err
			},
			"the record is removed, and comes back": func() error {
				data, err := os.ReadFile(path(MetaFile))
				if err != nil {
					return err
				}
				if err := os.Remove(path(MetaFile)); err != nil {
					return err
				}
				if got := seen(); got != "gone" {
					t.Errorf("without a record: %s", got)
				}
				if err := os.WriteFile(path(MetaFile), data, 0o600); err != nil {
					return err
				}
				return edit(fmt.Sprint("another source ", int64(pause)))
			},
		} {
			time.Sleep(pause)
			if err := change(); err != nil {
				t.Fatal(err)
			}
			after := seen()
			if after == before {
				t.Errorf("%s after %s: %s", name, pause, after)
			}
			before = after
		}
	}
}
