package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
)

// toFile is a change that makes a file.
func toFile(name string, expect Entry, text string) Change {
	return Change{Path: name, Expect: expect, Type: File, Mode: 0o644, Size: int64(len(text)), Open: reading(text)}
}

func reading(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

func toLink(name string, expect Entry, target string) Change {
	return Change{Path: name, Expect: expect, Type: Link, Link: target}
}

// placed makes changes of dir, as the host and the agent do together.
func placed(t testing.TB, dir string, changes ...Change) (all []Placed) {
	t.Helper()
	c := NewChanges()
	asked, ask := io.Pipe()
	answer, answering := io.Pipe()
	go func() { ask.CloseWithError(c.Send(ask, slices.Values(changes))) }()
	go func() {
		err := Place(t.Context(), asked, answering, dir)
		asked.CloseWithError(err)
		answering.CloseWithError(err)
	}()
	must(t, c.Receive(answer, func(p Placed) error {
		all = append(all, p)
		return nil
	}))
	if len(all) != len(changes) {
		t.Fatalf("%d results of %d changes", len(all), len(changes))
	}
	for n, p := range all {
		if p.Path != changes[n].Path {
			t.Fatalf("result %d is of %q, not of %q", n, p.Path, changes[n].Path)
		}
	}
	return all
}

// place makes one change, and returns its error.
func place(t testing.TB, dir string, c Change) error { return placed(t, dir, c)[0].Err }

// entryAt is a path as it is listed.
func entryAt(t testing.TB, dir, name string) Entry {
	t.Helper()
	for _, e := range listed(t, dir, Options{}) {
		if e.Path == name {
			return e
		}
	}
	return Entry{}
}

// treeText is what is below a directory, with the contents of files, and without times.
func treeText(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, e := range listed(t, dir, Options{}) {
		switch e.Type {
		case File:
			text, err := os.ReadFile(filepath.Join(dir, e.Path))
			must(t, err)
			fmt.Fprintf(&b, "%q %o %q\n", e.Path, e.Mode, text)
		case Link:
			fmt.Fprintf(&b, "%q -> %q\n", e.Path, e.Link)
		default:
			fmt.Fprintf(&b, "%q %s\n", e.Path, e.Type)
		}
	}
	return b.String()
}

// checkTree compares what is below a directory, of which nothing may be a temporary file.
func checkTree(t testing.TB, dir, want string) {
	t.Helper()
	if got := treeText(t, dir); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	must(t, filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if strings.Contains(name, Temporary) {
			t.Errorf("%s is left", name)
		}
		return err
	}))
}

func TestPlace(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("0123456789abcdef", 20_000)
	all := placed(t, dir, toFile("a", Entry{}, "one"), toFile("in/deep/\xff\n", Entry{}, long), toFile("empty", Entry{}, ""), toLink("in/link", Entry{}, "../\xff"))
	for _, p := range all {
		if p.Err != nil || p.Entry != entryAt(t, dir, p.Path) {
			t.Errorf("%q: %v\nplaced %+v\nlisted %+v", p.Path, p.Err, p.Entry, entryAt(t, dir, p.Path))
		}
	}
	checkTree(t, dir, fmt.Sprintf("%q 644 %q\n%q 644 %q\n%q dir\n%q dir\n%q 644 %q\n%q -> %q\n",
		"a", "one", "empty", "", "in", "in/deep", "in/deep/\xff\n", long, "in/link", "../\xff"))

	// Replaced, with another mode and of another type, and removed.
	script := toFile("a", all[0].Entry, "two")
	script.Mode = 0o755
	all = placed(t, dir, script, toLink("in/deep/\xff\n", all[1].Entry, "file"), toFile("in/link", all[3].Entry, "text"),
		Change{Path: "empty", Expect: all[2].Entry})
	for _, p := range all {
		if p.Err != nil || p.Entry != entryAt(t, dir, p.Path) {
			t.Errorf("%q: %v\nplaced %+v\nlisted %+v", p.Path, p.Err, p.Entry, entryAt(t, dir, p.Path))
		}
	}
	checkTree(t, dir, "\"a\" 755 \"two\"\n\"in\" dir\n\"in/deep\" dir\n\"in/deep/\\xff\\n\" -> \"file\"\n\"in/link\" 644 \"text\"\n")

	// Directories that become empty go, and a file takes their place; a file makes place for one.
	all = placed(t, dir, Change{Path: "in/deep/\xff\n", Expect: all[1].Entry}, toFile("in/deep", Entry{}, "file"),
		Change{Path: "a", Expect: all[0].Entry}, toFile("a/b/c", Entry{}, "c"))
	for _, p := range all {
		if p.Err != nil {
			t.Errorf("%q: %v", p.Path, p.Err)
		}
	}
	checkTree(t, dir, "\"a\" dir\n\"a/b\" dir\n\"a/b/c\" 644 \"c\"\n\"in\" dir\n\"in/deep\" 644 \"file\"\n\"in/link\" 644 \"text\"\n")
	all = placed(t, dir, Change{Path: "a/b/c", Expect: entryAt(t, dir, "a/b/c")}, Change{Path: "in/deep", Expect: entryAt(t, dir, "in/deep")},
		Change{Path: "in/link", Expect: entryAt(t, dir, "in/link")})
	for _, p := range all {
		if p.Err != nil || p.Entry != (Entry{}) {
			t.Errorf("%q: %v, %+v", p.Path, p.Err, p.Entry)
		}
	}
	checkTree(t, dir, "")
}

// TestWhatIsNotExpectedStays: whatever is different, nothing is done to the path, and the other
// changes are made.
func TestWhatIsNotExpectedStays(t *testing.T) {
	for name, alter := range map[string]func(file string, e *Entry) error{
		"content": func(file string, _ *Entry) error { return os.WriteFile(file, []byte("xyz"), 0o600) },
		"size":    func(_ string, e *Entry) error { e.Size++; return nil },
		"mtime":   func(_ string, e *Entry) error { e.MTime--; return nil },
		"ctime":   func(_ string, e *Entry) error { e.CTime++; return nil },
		"inode":   func(_ string, e *Entry) error { e.Inode++; return nil },
		"mode":    func(file string, _ *Entry) error { return os.Chmod(file, 0o700) },
		"type":    func(_ string, e *Entry) error { e.Type = Other; return nil },
		"gone":    func(file string, _ *Entry) error { return os.Remove(file) },
		"a link": func(file string, _ *Entry) error {
			return errors.Join(os.Remove(file), os.Symlink("abc", file))
		},
		"a directory": func(file string, _ *Entry) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
		"new":         func(_ string, e *Entry) error { *e = Entry{}; return nil },
		"a file above": func(file string, _ *Entry) error {
			return errors.Join(os.RemoveAll(filepath.Dir(file)), os.WriteFile(filepath.Dir(file), nil, 0o600))
		},
		"a link above": func(file string, _ *Entry) error {
			dir := filepath.Dir(file)
			return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(filepath.Base(dir)+"2", dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "in/file")
			must(t, os.Mkdir(filepath.Dir(file), 0o755))
			must(t, os.WriteFile(file, []byte("abc"), 0o600))
			must(t, os.Chtimes(file, tenYearsAgo, tenYearsAgo))
			e := entryAt(t, dir, "in/file")
			must(t, alter(file, &e))
			before := treeText(t, dir)
			changes := []Change{toFile("in/file", e, "new"), toLink("in/file", e, "new")}
			if e.Type != "" {
				changes = append(changes, Change{Path: "in/file", Expect: e})
			}
			for _, c := range changes {
				all := placed(t, dir, c, toFile("next", Entry{}, "next"))
				if api.KindOf(all[0].Err) != api.KindConflict || all[0].Entry != (Entry{}) || all[1].Err != nil {
					t.Errorf("to %q: %v, %v", c.Type, all[0].Err, all[1].Err)
				}
				must(t, os.Remove(filepath.Join(dir, "next")))
				checkTree(t, dir, before)
			}
		})
	}
}

// TestContentThatCannotBeRead: nothing is done to the path, and nothing is left of it.
func TestContentThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	bad := errors.New("bad sector")
	for name, c := range map[string]struct {
		open func() (io.ReadCloser, error)
		kind api.Kind
		want string
	}{
		"missing": {func() (io.ReadCloser, error) { return os.Open("/none") }, api.KindNotFound, "cannot read in/new/file: open /none: no such file or directory"},
		"shorter": {reading("ab"), api.KindConflict, "cannot read in/new/file: it became shorter meanwhile"},
		"empty":   {reading(""), api.KindConflict, "cannot read in/new/file: it became shorter meanwhile"},
		"longer":  {reading("abcd"), api.KindConflict, "cannot read in/new/file: it became longer meanwhile"},
		"broken": {func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("a"), failing{bad})), nil
		}, api.KindInternal, "cannot read in/new/file: bad sector"},
	} {
		change := Change{Path: "in/new/file", Type: File, Size: 3, Open: c.open}
		all := placed(t, dir, change, toFile("next", Entry{}, "next"))
		if err := all[0].Err; err == nil || err.Error() != c.want || api.KindOf(err) != c.kind || all[1].Err != nil {
			t.Errorf("%s: %v, of kind %s, %v", name, err, api.KindOf(err), all[1].Err)
		}
		must(t, os.Remove(filepath.Join(dir, "next")))
		checkTree(t, dir, "")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestChangesThatAreRefused: by the host, before they are sent, and by the agent.
func TestChangesThatAreRefused(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "dir")
	must(t, os.Mkdir(dir, 0o755))
	for want, c := range map[string]Change{
		"cannot write ../x: it leads outside the directory":               toFile("../x", Entry{}, "x"),
		"cannot write /x: it leads outside the directory":                 toLink("/x", Entry{}, "x"),
		"cannot write a/../../x: it leads outside the directory":          toFile("a/../../x", Entry{}, "x"),
		"cannot write a//x: it is not in its shortest form":               toFile("a//x", Entry{}, "x"),
		"cannot write .: it is empty":                                     toFile(".", Entry{}, "x"),
		`cannot write "a\x00b": it contains a NUL byte`:                   toFile("a\x00b", Entry{}, "x"),
		"cannot write a/.banger-place-x: its name is one of banger's own": toFile("a/.banger-place-x", Entry{}, "x"),
		"cannot write a: its target is not one of a link":                 toLink("a", Entry{}, ""),
		"cannot write b: its target is not one of a link":                 toLink("b", Entry{}, "x\x00"),
		"cannot write c: its target is not one of a link":                 toLink("c", Entry{Type: Link}, "x"),
		"cannot remove d: nothing is there":                               {Path: "d"},
		"cannot write e: it cannot become a dir":                          {Path: "e", Type: Dir},
		"cannot write f: it has no content, or an invalid mode":           {Path: "f", Type: File},
		"cannot write g: it has no content, or an invalid mode":           {Path: "g", Type: File, Mode: 0o100644, Open: reading("")},
		`cannot write h: its type is "door"`:                              toFile("h", Entry{Type: "door"}, "x"),
	} {
		if err := place(t, dir, c); err == nil || api.KindOf(err) != api.KindInvalid || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
		if c.Type == File && c.Open == nil {
			continue // there is nothing to send
		}
		request := appendChange(nil, c)
		if c.Type == File {
			request = append(request, 1, 'x', 0, endingWhole)
		}
		if err := Place(t.Context(), bytes.NewReader(request), io.Discard, dir); err == nil {
			t.Errorf("the agent makes what is refused with: %s", want)
		}
	}
	checkTree(t, top, "\"dir\" dir\n")
}

// TestOwners: what is new belongs to the owner of its directory, what replaces something to that
// one's.
func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: owners of new files: only root may give files away")
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "in"), 0o755))
	must(t, os.Chown(filepath.Join(dir, "in"), 1234, 2345))
	must(t, os.WriteFile(filepath.Join(dir, "in/old"), []byte("old"), 0o600))
	must(t, os.Symlink("old", filepath.Join(dir, "in/link")))
	must(t, os.Lchown(filepath.Join(dir, "in/old"), 3456, 4567))
	must(t, os.Lchown(filepath.Join(dir, "in/link"), 5678, 6789))
	old := toFile("in/old", entryAt(t, dir, "in/old"), "new")
	old.Mode = 0o4755
	for _, p := range placed(t, dir, old, toFile("in/new/er/file", Entry{}, "x"), toLink("in/link", entryAt(t, dir, "in/link"), "x"), toLink("in/link2", Entry{}, "x")) {
		must(t, p.Err)
	}
	for name, want := range map[string]string{
		"in/old": "3456:4567 104755", "in/link": "5678:6789 120777", "in/link2": "1234:2345 120777",
		"in/new": "1234:2345 40755", "in/new/er": "1234:2345 40755", "in/new/er/file": "1234:2345 100644",
	} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, name), &st))
		if got := fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
