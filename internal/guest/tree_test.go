package guest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/manifest"
)

// treeOf lists a directory of a guest.
func treeOf(ctx context.Context, c *guest.Client, dir string, o manifest.Options) (paths []string, err error) {
	err = c.Tree(ctx, dir, o, func(e manifest.Entry) error {
		paths = append(paths, e.Path)
		return nil
	})
	return paths, err
}

// TestTree lists a directory of a guest, and fetches what it has.
func TestTree(t *testing.T) {
	c, root := newClient(t)
	long := strings.Repeat("0123456789abcdef", 1<<16)
	for name, text := range map[string]string{"b/long": long, "a\xff": "x", ".git/HEAD": "ref", "b/.git/HEAD": "ref"} {
		file := filepath.Join(root, "work", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../..", filepath.Join(root, "work/b/out")); err != nil {
		t.Fatal(err)
	}
	paths, err := treeOf(t.Context(), c, "/work", manifest.Options{Skip: []string{".git"}})
	if got, want := fmt.Sprintf("%q", paths), fmt.Sprintf("%q", []string{".git", "a\xff", "b", "b/.git", "b/long", "b/out"}); err != nil || got != want {
		t.Fatalf("got %s, %v, want %s", got, err, want)
	}
	// More names than the windows of a session, and contents before all of them are sent.
	var names, got []string
	for range 100_000 {
		names = append(names, "a\xff")
	}
	names = append(names, "b/long", "b/out", "b", "gone")
	err = c.Fetch(t.Context(), "/work", names, func(f manifest.Fetched) error {
		if f.Err != nil {
			got = append(got, string(api.KindOf(f.Err)))
			return nil
		}
		text, err := io.ReadAll(f.Content)
		if len(got) == 0 || got[len(got)-1] != string(text) {
			got = append(got, string(text))
		}
		return err
	})
	if want := []string{"x", long, "../..", "invalid", "not_found"}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %.100q, %v", got, err)
	}
}

// TestTreesThatFail: an error says what failed and why, and its caller's own is not changed.
func TestTreesThatFail(t *testing.T) {
	c, root := newClient(t)
	for name, text := range map[string]string{"file": "x", "dir/one": "1", "dir/two": strings.Repeat("2", 1<<20)} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	own := errors.New("own")
	read := func(manifest.Fetched) error { return nil }
	for name, f := range map[string]struct {
		err  error
		kind api.Kind
		want string
	}{
		"missing":      {second(treeOf(t.Context(), c, "/none", manifest.Options{})), api.KindNotFound, "cannot list /none in the guest: no such file or directory"},
		"a file":       {second(treeOf(t.Context(), c, "/file", manifest.Options{})), api.KindInvalid, "cannot list /file in the guest: not a directory"},
		"limit":        {second(treeOf(t.Context(), c, "/dir", manifest.Options{Entries: 1})), api.KindInvalid, "cannot list /dir in the guest: it has more than 1 files and directories"},
		"own":          {c.Tree(t.Context(), "/dir", manifest.Options{}, func(manifest.Entry) error { return own }), api.KindInternal, "own"},
		"fetch no dir": {c.Fetch(t.Context(), "/none", []string{"one"}, read), api.KindNotFound, "cannot fetch files of /none in the guest: no such file or directory"},
		"fetch upward": {c.Fetch(t.Context(), "/dir", []string{"../file"}, read), api.KindInvalid, "cannot fetch ../file: it leads outside the directory"},
		"many names":   {c.Fetch(t.Context(), "/none", make100000(), read), api.KindNotFound, "cannot fetch files of /none in the guest: no such file or directory"},
		"many, own":    {c.Fetch(t.Context(), "/dir", make100000(), func(manifest.Fetched) error { return own }), api.KindInternal, "own"},
		"fetch own":    {c.Fetch(t.Context(), "/dir", []string{"two", "one"}, func(manifest.Fetched) error { return own }), api.KindInternal, "own"},
	} {
		if f.err == nil || api.KindOf(f.err) != f.kind || f.err.Error() != f.want {
			t.Errorf("%s: got %v, of kind %s\nwant %s", name, f.err, api.KindOf(f.err), f.want)
		}
	}
	if err := c.Fetch(t.Context(), "/dir", nil, read); err != nil {
		t.Errorf("nothing: %v", err)
	}
	if err := c.Fetch(t.Context(), "/none", nil, read); api.KindOf(err) != api.KindNotFound {
		t.Errorf("nothing of a directory that does not exist: %v", err)
	}
}

// make100000 returns more names than the windows of a session have room for.
func make100000() []string { return slices.Repeat([]string{"some/name"}, 100_000) }

func second[T any](_ T, err error) error { return err }

// TestHostileTrees: what a guest sends in the place of a list or a file is an error, at once, that
// names what was requested.
func TestHostileTrees(t *testing.T) {
	endless := strings.Repeat("\x02\x01d\x00\x00\x00\x00\x00", 1<<17) // directories in one another
	for name, c := range map[string]struct{ sent, tree, fetch string }{
		"nonsense":       {"nonsense", "cannot list /w: the guest's agent violates the protocol: an entry is of kind 0x6e", "cannot fetch files of /w: the guest's agent violates the protocol: an answer is of kind 110"},
		"upwards":        {"\x01\x02..\x00\x00\x00\x00\x00", "cannot list /w: the guest's agent violates the protocol: .. is not the name of a file", "bytes of a are missing"},
		"levels":         {endless, "a path has more than 4095 bytes", "cannot fetch files of /w: the guest's agent violates the protocol"},
		"more":           {"\x00\x02" + strings.Repeat("\x00", 1<<20), "something follows the end", "something follows the end"},
		"a line to type": {"\x01\x0a/\nbanger x\x00\x00\x00\x00\x00", `"/\nbanger x" is not the name of a file`, "violates the protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			client := func() *guest.Client { return &guest.Client{Dial: hostile(t, lister([]byte(c.sent))).Open} }
			_, err := treeOf(ctx, client(), "/w", manifest.Options{})
			if err == nil || !strings.Contains(err.Error(), c.tree) || strings.ContainsRune(err.Error(), '\n') {
				t.Errorf("Tree: %v\nwant %s", err, c.tree)
			}
			err = client().Fetch(ctx, "/w", []string{"a"}, func(f manifest.Fetched) error {
				_, _, _ = f.After()
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), c.fetch) {
				t.Errorf("Fetch: %v\nwant %s", err, c.fetch)
			}
		})
	}
}

// TestTreeIsCancelled: a guest that sends nothing more is not waited for.
func TestTreeIsCancelled(t *testing.T) {
	for name, use := range map[string]func(context.Context, *guest.Client) error{
		"list": func(ctx context.Context, c *guest.Client) error {
			return second(treeOf(ctx, c, "/w", manifest.Options{}))
		},
		"fetch": func(ctx context.Context, c *guest.Client) error {
			return c.Fetch(ctx, "/w", []string{"a"}, func(f manifest.Fetched) error {
				_, err := io.Copy(io.Discard, f.Content)
				return fmt.Errorf("reading it: %w", err)
			})
		},
	} {
		client := &guest.Client{Dial: hostile(t, lister([]byte("\x01\x01"))).Open}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := use(ctx, client)
		cancel()
		if api.KindOf(err) != api.KindTimeout {
			t.Errorf("%s: %v, of kind %s", name, err, api.KindOf(err))
		}
	}
}
