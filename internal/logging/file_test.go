package logging

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// line is what each write of these tests is: 1 KiB.
func line(i int) []byte {
	return fmt.Appendf(nil, "%08d%s\n", i, strings.Repeat("x", 1<<10-9))
}

func write(t *testing.T, w *Writer, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if n, err := w.Write(line(i)); n != 1<<10 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
}

// log is a log at a path of its own, and a second descriptor of it.
func log(t *testing.T) (path string, stderr, stdout *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "log")
	for _, f := range []**os.File{&stderr, &stdout} {
		var err error
		if *f, err = Open(path); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*f).Close() })
	}
	return path, stderr, stdout
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestAProcessThatRunsForMonths has two files, both within the bound, with its newest lines,
// each once and whole.
func TestAProcessThatRunsForMonths(t *testing.T) {
	path, stderr, stdout := log(t)
	const lines = 3 * Max >> 10
	write(t, NewWriter(path, stderr, stdout), 0, lines)
	data := read(t, path)
	if old := read(t, Old(path)); len(old) > Max+1<<10 || len(data) > Max+1<<10 {
		t.Errorf("%d and %d bytes", len(old), len(data))
	} else {
		data = append(old, data...)
	}
	first := lines - len(data)>>10
	if first > lines-Max>>10 {
		t.Errorf("only the lines from %d on are left", first)
	}
	for i := first; i < lines; i++ {
		if got := data[(i-first)<<10:][:1<<10]; !bytes.Equal(got, line(i)) {
			t.Fatalf("line %d is %.20q", i, got)
		}
	}
	before := len(read(t, path))
	if _, err := stdout.WriteString("a panic"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path)[before:]; string(got) != "a panic" {
		t.Errorf("what is written without the writer is not in the log: %q", got)
	}
	if _, err := os.Lstat(next(path)); !os.IsNotExist(err) {
		t.Errorf("the next log: %v", err)
	}
}

// TestALogThatCannotBePutAside grows, and loses nothing, until it can.
func TestALogThatCannotBePutAside(t *testing.T) {
	path, stderr, _ := log(t)
	if err := os.Mkdir(next(path), 0o700); err != nil {
		t.Fatal(err)
	}
	w := NewWriter(path, stderr)
	const lines = Max>>10 + 10
	write(t, w, 0, lines)
	if got := len(read(t, path)); got != lines<<10 {
		t.Fatalf("%d bytes", got)
	}
	if err := os.Remove(next(path)); err != nil {
		t.Fatal(err)
	}
	write(t, w, lines, lines+2)
	if got := read(t, path); !bytes.Equal(got, line(lines+1)) {
		t.Errorf("%d bytes after there was room", len(got))
	}
	if got := len(read(t, Old(path))); got != (lines+1)<<10 {
		t.Errorf("%d bytes were put aside", got)
	}
}

// TestAnotherHasTheLog, as a daemon that was started while this one ends: it stays as it is.
func TestAnotherHasTheLog(t *testing.T) {
	path, stderr, _ := log(t)
	w := NewWriter(path, stderr)
	if err := os.Rename(path, Old(path)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, w, 0, Max>>10+2)
	if got := read(t, path); string(got) != "another's" {
		t.Errorf("it has %d bytes", len(got))
	}
}

// TestARemovedLog does not grow where nobody sees it.
func TestARemovedLog(t *testing.T) {
	path, stderr, _ := log(t)
	w := NewWriter(path, stderr)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, w, 0, Max>>10+2)
	if got := read(t, path); !bytes.Equal(got, line(Max>>10+1)) {
		t.Errorf("%d bytes", len(got))
	}
}

// TestAFileOfTheUsersChoice, as with `banger daemon run 2> file`, is only written to.
func TestAFileOfTheUsersChoice(t *testing.T) {
	path, stderr, _ := log(t)
	write(t, NewWriter(path+".other", stderr), 0, Max>>10+2)
	if got := len(read(t, path)); got != Max+2<<10 {
		t.Errorf("%d bytes", got)
	}
}

// TestOpenPutsALongLogAside, and goes on with a short one.
func TestOpenPutsALongLogAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for size, want := range map[int]int64{Max: Max, Max + 1: 0} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err != nil || info.Size() != want {
			t.Errorf("of %d bytes are left: %d, %v", size, info.Size(), err)
		}
		f.Close()
	}
}
