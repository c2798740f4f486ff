package manifest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
)

// recovered returns the contents of files that got another name.
func recovered(t testing.TB, dir string) (all []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, Recovered+"*"))
	must(t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		must(t, err)
		all = append(all, string(text))
	}
	return all
}

// begun is a change of the file "file" that was made but for its end. What is there is "old".
func begun(t *testing.T, dir string, c Change) *placing {
	t.Helper()
	s := &placing{placer: &placer{cleaned: map[string]bool{}}, Change: c, base: c.Path}
	top, err := openRoot(dir)
	must(t, err)
	t.Cleanup(func() {
		top.Close()
		s.dir.Close()
		s.file.Close()
	})
	s.root = top
	must(t, s.begin())
	if c.Type != "" {
		must(t, s.writer(nil)([]byte("host's")))
		must(t, s.finish())
	}
	return s
}

// TestBetweenLookAndExchange: what somebody does in that moment is not lost, whatever it is.
func TestBetweenLookAndExchange(t *testing.T) {
	rename := func(dir string, flags uint, from, to string) error {
		return unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, from), unix.AT_FDCWD, filepath.Join(dir, to), flags)
	}
	write := func(dir, name, text string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	for name, c := range map[string]struct {
		// first is done between the last look and the exchange, then after it.
		first, then func(dir, temp string) error
		want        string
		recovered   string
	}{
		"written":  {first: func(dir, _ string) error { return write(dir, "file", "user's") }, want: "user's"},
		"replaced": {first: func(dir, _ string) error { return errors.Join(write(dir, "x", "user's"), rename(dir, 0, "x", "file")) }, want: "user's"},
		"written twice": {
			first: func(dir, _ string) error { return write(dir, "file", "user's") },
			then:  func(dir, _ string) error { return write(dir, "file", "again") },
			want:  "user's", recovered: "again",
		},
		"written and replaced": {
			first: func(dir, _ string) error { return write(dir, "file", "user's") },
			then:  func(dir, _ string) error { return errors.Join(write(dir, "x", "again"), rename(dir, 0, "x", "file")) },
			want:  "user's", recovered: "again",
		},
		"written and removed": {
			first: func(dir, _ string) error { return write(dir, "file", "user's") },
			then:  func(dir, _ string) error { return os.Remove(filepath.Join(dir, "file")) },
			want:  "user's",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, write(dir, "file", "old"))
			must(t, os.Chtimes(filepath.Join(dir, "file"), tenYearsAgo, tenYearsAgo))
			s := begun(t, dir, toFile("file", entryAt(t, dir, "file"), "host's"))
			must(t, s.mark())
			must(t, c.first(dir, s.temp.name))
			must(t, rename(dir, unix.RENAME_EXCHANGE, s.temp.name, "file"))
			if s.temp.holdsOld(int(s.dir.Fd())) {
				t.Fatal("another file counts as the one that was expected")
			}
			if c.then != nil {
				must(t, c.then(dir, s.temp.name))
			}
			if err := s.giveBack(); !errors.Is(err, errOther) {
				t.Error(err)
			}
			s.undo()
			if got := strings.Join(recovered(t, dir), " "); got != c.recovered {
				t.Errorf("recovered is %q, want %q", got, c.recovered)
			}
			text, err := os.ReadFile(filepath.Join(dir, "file"))
			if err != nil || string(text) != c.want {
				t.Errorf("%q, %v, want %q", text, err, c.want)
			}
			list, err := os.ReadDir(dir)
			if want := 1 + len(strings.Fields(c.recovered)); err != nil || len(list) != want {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
}

// TestBetweenLookAndRemoval: as above, for what is removed.
func TestBetweenLookAndRemoval(t *testing.T) {
	for name, c := range map[string]struct {
		then            func(file string) error // after the removal
		want, recovered string
	}{
		"written":          {func(string) error { return nil }, "user's", ""},
		"written, and new": {func(file string) error { return os.WriteFile(file, []byte("again"), 0o600) }, "again", "user's"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "file")
		must(t, os.WriteFile(file, []byte("old"), 0o600))
		s := begun(t, dir, Change{Path: "file", Expect: entryAt(t, dir, "file")})
		must(t, os.WriteFile(file, []byte("user's"), 0o600))
		s.temp = newTemporary().mark(identity{}, identityOf(&s.old))
		must(t, os.Rename(file, filepath.Join(dir, s.temp.name)))
		must(t, c.then(file))
		if err := s.unlinkOld(); !errors.Is(err, errOther) {
			t.Error(err)
		}
		s.undo()
		text, err := os.ReadFile(file)
		if got := strings.Join(recovered(t, dir), " "); err != nil || string(text) != c.want || got != c.recovered {
			t.Errorf("%s: %q, recovered %q, %v", name, text, got, err)
		}
	}
}

// TestNoVersionIsLost: a host and somebody in the guest write the same file again and again. Each
// version was seen by somebody before it went, or is still there.
func TestNoVersionIsLost(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	dir := inMemory(t)
	file := filepath.Join(dir, "file")
	var known sync.Map // versions that were seen before they went
	written := map[string]bool{}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			version := fmt.Sprintf("guest's %06d", n)
			written[version] = true
			if err := replaceSeeing(file, version, &known); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	made := 0
	for n := range 600 {
		e := entryAt(t, dir, "file")
		text := ""
		if e.Type != "" {
			b, err := os.ReadFile(file)
			if text = string(b); err != nil || entryAt(t, dir, "file") != e {
				continue // it changed while it was read
			}
		}
		c := toFile("file", e, fmt.Sprintf("host's %d", n))
		if n%5 == 0 && e.Type != "" {
			c = Change{Path: "file", Expect: e}
		}
		switch err := place(t, dir, c); {
		case err == nil:
			made++
			known.Store(text, true)
		case api.KindOf(err) != api.KindConflict:
			t.Fatal(err)
		}
	}
	close(stop)
	<-done
	for _, text := range recovered(t, dir) {
		known.Store(text, true)
	}
	if last, err := os.ReadFile(file); err == nil {
		known.Store(string(last), true)
	}
	for version := range written {
		if _, ok := known.Load(version); !ok {
			t.Errorf("%q is lost", version)
		}
	}
	t.Logf("%d changes of 600 were made, beside %d of the guest", made, len(written))
	if made == 0 || len(written) < 100 {
		t.Error("this test has shown nothing")
	}
}

// replaceSeeing writes a version of a file, and notes which one it has replaced.
func replaceSeeing(file, version string, known *sync.Map) error {
	temp := file + "~"
	if err := os.WriteFile(temp, []byte(version), 0o600); err != nil {
		return err
	}
	for {
		err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, file, unix.RENAME_EXCHANGE)
		if err == nil {
			text, err := os.ReadFile(temp)
			known.Store(string(text), true)
			return errors.Join(err, os.Remove(temp))
		}
		if errors.Is(err, unix.ENOENT) {
			err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, file, unix.RENAME_NOREPLACE)
		}
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}
