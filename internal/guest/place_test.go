package guest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/manifest"
)

// toFiles are changes that make files with a content.
func toFiles(text string, names ...string) iter.Seq[manifest.Change] {
	return func(yield func(manifest.Change) bool) {
		for _, name := range names {
			c := manifest.Change{Path: name, Type: manifest.File, Mode: 0o644, Size: int64(len(text))}
			c.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
			if !yield(c) {
				return
			}
		}
	}
}

// numbered are many names.
func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("d%d/f%d", i%7, i))
	}
	return names
}

// TestPlaceFiles makes more files than are in flight at once, and a large one.
func TestPlaceFiles(t *testing.T) {
	c, root := newClient(t)
	if err := os.Mkdir(filepath.Join(root, "work"), 0o755); err != nil {
		t.Fatal(err)
	}
	names := numbered(1200)
	got := 0
	placed := func(p manifest.Placed) error {
		if p.Err != nil || p.Path != names[got] || p.Entry.Type != manifest.File {
			t.Errorf("%s: %+v", names[got], p)
		}
		got++
		return nil
	}
	if err := c.PlaceFiles(t.Context(), "/work", toFiles("text", names...), placed); err != nil || got != len(names) {
		t.Fatalf("%d of %d: %v", got, len(names), err)
	}
	paths, err := treeOf(t.Context(), c, "/work", manifest.Options{})
	if err != nil || len(paths) != len(names)+7 {
		t.Errorf("%d paths, %v", len(paths), err)
	}
	long := strings.Repeat("0123456789abcdef", 1<<18)
	names, got = []string{"long"}, 0
	if err := c.PlaceFiles(t.Context(), "/work", toFiles(long, names...), placed); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "work/long")); err != nil || string(text) != long {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// TestPlaceOneAfterTheOther: what makes the changes may wait for the result of each.
func TestPlaceOneAfterTheOther(t *testing.T) {
	c, _ := newClient(t)
	results := make(chan manifest.Placed)
	err := c.PlaceFiles(t.Context(), "/", func(yield func(manifest.Change) bool) {
		for change := range toFiles("x", "a", "b", "c") {
			if !yield(change) {
				return
			}
			if p := <-results; p.Path != change.Path || p.Err != nil {
				t.Errorf("%s: %+v", change.Path, p)
			}
		}
	}, func(p manifest.Placed) error {
		results <- p
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPlacingThatFails: an error says what failed and why, and its caller's own is not changed.
func TestPlacingThatFails(t *testing.T) {
	c, root := newClient(t)
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	own := errors.New("own")
	every := func(manifest.Placed) error { return nil }
	for name, f := range map[string]struct {
		err  error
		kind api.Kind
		want string
	}{
		"missing": {c.PlaceFiles(t.Context(), "/none", toFiles("x", "a"), every), api.KindNotFound, "cannot change files of /none in the guest: no such file or directory"},
		"many":    {c.PlaceFiles(t.Context(), "/none", toFiles("x", numbered(10_000)...), every), api.KindNotFound, "cannot change files of /none in the guest: no such file or directory"},
		"nothing": {c.PlaceFiles(t.Context(), "/none", toFiles("x"), every), api.KindNotFound, "cannot change files of /none in the guest: no such file or directory"},
		"a file":  {c.PlaceFiles(t.Context(), "/file", toFiles("x", "a"), every), api.KindInvalid, "cannot change files of /file in the guest: not a directory"},
		"own":     {c.PlaceFiles(t.Context(), "/", toFiles("x", "a"), func(manifest.Placed) error { return own }), api.KindInternal, "own"},
		"own, many": {c.PlaceFiles(t.Context(), "/", toFiles("x", numbered(10_000)...), func(manifest.Placed) error { return own }),
			api.KindInternal, "own"},
	} {
		if f.err == nil || api.KindOf(f.err) != f.kind || f.err.Error() != f.want {
			t.Errorf("%s: got %v, of kind %s\nwant %s", name, f.err, api.KindOf(f.err), f.want)
		}
	}
}

// TestHostilePlacing: what a guest answers to changes is an error, at once.
func TestHostilePlacing(t *testing.T) {
	for name, c := range map[string]struct{ sent, want string }{
		"nonsense":   {"nonsense", "cannot change files of /w: the guest's agent violates the protocol: the answer to a change is of kind 110"},
		"no number":  {"\x00\x00", "the number of an error is 0"},
		"one answer": {"\x02", "the guest's agent ended the session"},
		"more":       {strings.Repeat("\x02", 1<<20), "something follows the end"},
	} {
		t.Run(name, func(t *testing.T) {
			wait := 10 * time.Second
			if name == "one answer" {
				wait = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			client := &guest.Client{Dial: hostile(t, lister([]byte(c.sent))).Open}
			err := client.PlaceFiles(ctx, "/w", toFiles("x", "a", "b"), func(p manifest.Placed) error {
				if p.Err == nil {
					t.Errorf("%s counts as placed", p.Path)
				}
				return nil
			})
			if name == "one answer" {
				if api.KindOf(err) != api.KindTimeout {
					t.Errorf("a guest that sends nothing more: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}
