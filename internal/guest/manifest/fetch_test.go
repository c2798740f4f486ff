package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// fetched is a file with its content.
type fetched struct {
	Fetched
	text  string
	read  error // of the content
	after Entry
	cut   bool
	bad   error // of After
}

// fetchAll fetches files of dir.
func fetchAll(t testing.TB, dir string, names ...string) []fetched {
	t.Helper()
	var asked, answer bytes.Buffer
	must(t, Request(&asked, names))
	must(t, Serve(t.Context(), &asked, &answer, dir))
	all, err := receive(answer.Bytes(), names...)
	must(t, err)
	return all
}

func receive(answer []byte, names ...string) (all []fetched, err error) {
	err = Receive(bytes.NewReader(answer), names, func(f Fetched) error {
		r := fetched{Fetched: f}
		if f.Err == nil {
			var b []byte
			b, r.read = io.ReadAll(f.Content)
			r.text = string(b)
			r.after, r.cut, r.bad = f.After()
		}
		all = append(all, r)
		return nil
	})
	return all, err
}

func TestFetch(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("0123456789abcdef", 10_000)
	must(t, os.Mkdir(filepath.Join(dir, "in"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "in/long"), []byte(long), 0o640))
	must(t, os.WriteFile(filepath.Join(dir, "empty\n\xff"), nil, 0o4755))
	must(t, os.Chmod(filepath.Join(dir, "empty\n\xff"), 0o4755&0o777))
	must(t, os.Symlink("../\xff/x", filepath.Join(dir, "in/link")))
	known := map[string]Entry{}
	for _, e := range listed(t, dir, Options{}) {
		known[e.Path] = e
	}
	want := map[string]string{"in/long": long, "empty\n\xff": "", "in/link": "../\xff/x"}
	for _, f := range fetchAll(t, dir, "in/long", "empty\n\xff", "in/link", "in/long") {
		if f.Err != nil || f.read != nil || f.bad != nil || f.cut || f.text != want[f.Path] {
			t.Errorf("%q: %v, %v, %v, %v, %d bytes", f.Path, f.Err, f.read, f.bad, f.cut, len(f.text))
		}
		if f.Entry != known[f.Path] || f.after != known[f.Path] {
			t.Errorf("listed  %+v\nfetched %+v\nafter   %+v", known[f.Path], f.Entry, f.after)
		}
	}
}

// TestWhatIsNotFetched: neither what is not a file nor what is elsewhere, however the agent is
// asked; and a pipe that nobody writes to blocks nothing.
func TestWhatIsNotFetched(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "dir")
	must(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "sub/file"), []byte("own"), 0o600))
	must(t, os.Symlink(top, filepath.Join(dir, "out")))
	must(t, os.Symlink("sub", filepath.Join(dir, "in")))
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	must(t, err)
	defer l.Close()
	for name, want := range map[string]struct {
		kind api.Kind
		text string
	}{
		"missing":                {api.KindNotFound, "no such file"},
		"sub/file/x":             {api.KindNotFound, "no such file"},
		"sub":                    {api.KindInvalid, "it is neither a file nor a link"},
		"pipe":                   {api.KindInvalid, "it is neither a file nor a link"},
		"socket":                 {api.KindInvalid, "it is neither a file nor a link"},
		"out/secret":             {api.KindNotFound, "no such file"},
		"in/file":                {api.KindNotFound, "no such file"},
		"../secret":              {api.KindInternal, "invalid cross-device link"},
		"sub/../../secret":       {api.KindInternal, "invalid cross-device link"},
		top + "/secret":          {api.KindInternal, "invalid cross-device link"},
		".":                      {api.KindInvalid, "it is neither a file nor a link"},
		"a\x00b":                 {api.KindInternal, "invalid argument"},
		strings.Repeat("n", 300): {api.KindInternal, "file name too long"},
	} {
		f := fetchAll(t, dir, name)[0]
		if f.Err == nil || api.KindOf(f.Err) != want.kind || !strings.HasSuffix(f.Err.Error(), ": "+want.text) {
			t.Errorf("%q: got %v, want %s", name, f.Err, want.text)
		}
		if f.Content != nil || f.Type != "" {
			t.Errorf("%q has content", name)
		}
	}
}

// TestAFileBecomesAPipe: one that takes a file's place once it was looked at blocks nothing.
func TestAFileBecomesAPipe(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	top, err := openRoot(dir)
	must(t, err)
	defer top.Close()
	var b bytes.Buffer
	s := &server{root: top, w: bufio.NewWriter(&b), piece: make([]byte, pieceSize)}
	must(t, s.file("pipe"))
	must(t, s.w.Flush())
	all, err := receive(b.Bytes(), "pipe")
	must(t, err)
	if api.KindOf(all[0].Err) != api.KindInvalid {
		t.Errorf("got %v", all[0].Err)
	}
}

// reacting calls do once, as soon as something was written.
type reacting struct {
	bytes.Buffer
	do func()
}

func (r *reacting) Write(p []byte) (int, error) {
	if r.do != nil {
		r.do()
		r.do = nil
	}
	return r.Buffer.Write(p)
}

// TestAFileChangesWhileItIsFetched: the receiver learns of it, whatever it was.
func TestAFileChangesWhileItIsFetched(t *testing.T) {
	const size = 8*pieceSize - 100 // more than what is read before the first byte is sent
	for name, c := range map[string]struct {
		do   func(file string) error
		text bool // all of it is there
		fail string
		cut  bool
	}{
		"grows":   {do: func(file string) error { return os.Truncate(file, 1<<40) }, text: true, cut: true},
		"shrinks": {do: func(file string) error { return os.Truncate(file, size/2) }, fail: "it became shorter while it was read"},
		"is written": {do: func(file string) error {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte("x"), size-1)
			}
			return errors.Join(err, f.Close())
		}},
		"is removed":  {do: os.Remove, text: true},
		"gets a mode": {do: func(file string) error { return os.Chmod(file, 0o700) }, text: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "file")
			must(t, os.WriteFile(file, make([]byte, size), 0o600))
			must(t, os.Chtimes(file, time.Unix(1e9, 0), time.Unix(1e9, 0)))
			var asked bytes.Buffer
			must(t, Request(&asked, []string{"file"}))
			answer := reacting{do: func() { must(t, c.do(file)) }}
			must(t, Serve(t.Context(), &asked, &answer, dir))
			all, err := receive(answer.Bytes(), "file")
			must(t, err)
			f := all[0]
			switch {
			case f.Size != size || c.text && f.text != strings.Repeat("\x00", size):
				t.Errorf("%d bytes, want %d zeros", len(f.text), f.Size)
			case c.fail != "" && (f.read == nil || !strings.HasSuffix(f.read.Error(), c.fail) || !errors.Is(f.bad, f.read)):
				t.Errorf("got %v and %v, want %s", f.read, f.bad, c.fail)
			case c.fail == "" && (f.read != nil || f.bad != nil || f.after == f.Entry || f.cut != c.cut):
				t.Errorf("got %v and %v, cut %v\nopened %+v\nafter  %+v", f.read, f.bad, f.cut, f.Entry, f.after)
			}
		})
	}
}

// TestAFileWithoutASize: of one whose size Linux does not know there is nothing, which is said.
func TestAFileWithoutASize(t *testing.T) {
	f := fetchAll(t, "/proc/self", "status")[0]
	if f.Err != nil || f.text != "" || f.read != nil || !f.cut {
		t.Errorf("%v, %q, %v, cut %v", f.Err, f.text, f.read, f.cut)
	}
}

// TestAFileThatCannotBeRead: the others are fetched.
func TestAFileThatCannotBeRead(t *testing.T) {
	var b bytes.Buffer
	s := &server{w: bufio.NewWriter(&b), piece: make([]byte, pieceSize)}
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0) // reading it fails, as a disk's would
	must(t, err)
	defer unix.Close(fd)
	e := Entry{Path: "bad", Type: File, Size: 7}
	must(t, s.write(new(deltas).appendTo([]byte{answerFile}, e)))
	must(t, s.rest(fd, e))
	must(t, s.refuse(nil))
	must(t, s.w.Flush())
	all, err := receive(b.Bytes(), "bad", "next")
	must(t, err)
	if len(all) != 2 || all[0].read == nil || all[0].read.Error() != "cannot read bad in the guest: is a directory" || all[0].bad == nil {
		t.Errorf("%+v", all)
	}
}

// TestWhatIsNotReadIsDropped: a function that does not read contents gets every file.
func TestWhatIsNotReadIsDropped(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), make([]byte, 3*pieceSize+1), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "b"), []byte("b"), 0o600))
	names := []string{"a", "missing", "b"}
	var asked, answer bytes.Buffer
	must(t, Request(&asked, names))
	must(t, Serve(t.Context(), &asked, &answer, dir))
	got := 0
	must(t, Receive(bytes.NewReader(answer.Bytes()), names, func(f Fetched) error {
		if f.Path == "a" {
			_, err := io.CopyN(io.Discard, f.Content, 10)
			must(t, err)
		}
		got++
		return nil
	}))
	if got != 3 {
		t.Errorf("%d files", got)
	}
	enough := errors.New("enough")
	err := Receive(bytes.NewReader(answer.Bytes()), names, func(Fetched) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

func TestNamesThatCannotBeRequested(t *testing.T) {
	for _, name := range []string{"", ".", "..", "/", "/a", "../a", "a/../..", "a/..", "a//b", "a/", "./a", "a\x00", strings.Repeat("a/", 2048) + "a"} {
		if err := CheckNames([]string{"fine", name}); err == nil || strings.ContainsRune(err.Error(), 0) {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	if err := CheckNames([]string{"a", "a/b", "...", "\xff", "..a/b", "a\n", strings.Repeat("a/", 2047) + "a"}); err != nil {
		t.Error(err)
	}
}
