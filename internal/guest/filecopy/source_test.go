package filecopy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

// TestBelowARoot: a source below a root arrives as it would without one, but for extended
// attributes, and with the directories that are sent before it.
func TestBelowARoot(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	from := filepath.Join(home, "tree")
	tree(t, from)
	t.Cleanup(func() { // so that others than root can remove them
		_ = os.Chmod(filepath.Join(from, "closed"), 0o700)
		_ = os.Chmod(filepath.Join(dir, "a/b/copy/closed"), 0o700)
	})
	must(t, unix.Removexattr(filepath.Join(from, "one"), "user.note"))
	src := Source{Root: openRoot(t, home), File: "tree", Above: []Entry{{Type: Dir, Name: "a", Mode: 0o711}, {Type: Dir, Name: "a/b", Mode: 0o755}}}
	var sum Progress
	must(t, src.Measure(func(p Progress) error { sum = p; return nil }))
	if sum.Files < 10 || sum.Bytes < 3<<20 || sum.Bytes > 16<<20 {
		t.Errorf("measured: %+v", sum)
	}
	for range 2 {
		_, warnings, err := transferFrom(t, src, dir, "a", "a/b/copy", Options{Archive: true}, 0)
		if err != nil || len(warnings) > 0 {
			t.Fatal(warnings, err)
		}
		if got, want := picture(t, filepath.Join(dir, "a/b/copy")), picture(t, from); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("the directory above: %v, %v", info, err)
	}
	enough := errors.New("enough")
	if err := src.Measure(func(Progress) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("measuring ends with %v", err)
	}
}

// TestNoLinkLeadsOutOfARoot: not even one that takes a directory's place while it is walked.
func TestNoLinkLeadsOutOfARoot(t *testing.T) {
	home, out, dir := t.TempDir(), t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(home, "tree/sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(home, "tree/sub/secret"), []byte("own"), 0o600))
	must(t, os.WriteFile(filepath.Join(home, "tree/first"), []byte("first"), 0o600))
	must(t, os.WriteFile(filepath.Join(out, "secret"), []byte("another's"), 0o600))
	src := Source{Root: openRoot(t, home), File: "tree"}
	src.Change = func(e *Entry) { // at the last entry, before any content is read
		if strings.HasSuffix(e.Name, "sub/secret") {
			must(t, os.Rename(filepath.Join(home, "tree/sub"), filepath.Join(home, "gone")))
			must(t, os.Symlink(out, filepath.Join(home, "tree/sub")))
		}
	}
	_, warnings, err := transferFrom(t, src, dir, "copy", "copy", Options{}, 0)
	if !errors.Is(err, ErrUnread) || !slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, "secret is not copied") }) {
		t.Errorf("%v, %q", err, warnings)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "copy/sub/secret")); err == nil {
		t.Errorf("copied: %q", text)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "copy/first")); string(text) != "first" {
		t.Errorf("the other file: %q, %v", text, err)
	}
}
