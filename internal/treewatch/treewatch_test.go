package treewatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(fewWatches); dir != "" {
		if err := runFewWatches(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// events are those of one Watch.
type events struct {
	next  chan Event
	ended chan error
}

// watch watches a directory until the test ends. It returns once all is watched.
func watch(t testing.TB, dir string, skip ...string) *events {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := &events{next: make(chan Event, 1000), ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.ended <- Watch(ctx, dir, Options{Skip: skip}, func(event Event) error {
			select {
			case e.next <- event:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	if first := e.wait(t); !first.Ready || first.All || len(first.Dirs) > 0 {
		t.Fatalf("the first event is %+v", first)
	}
	return e
}

// wait returns the next event.
func (e *events) wait(t testing.TB) Event {
	t.Helper()
	select {
	case event := <-e.next:
		return event
	case err := <-e.ended:
		t.Fatalf("it ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("no event has come for 20 seconds")
	}
	return Event{}
}

// dirs returns the directories of events until one of last comes.
func (e *events) dirs(t testing.TB, last string) (all []string) {
	t.Helper()
	for {
		event := e.wait(t)
		if event.All || event.Ready || event.Reason != "" || !slices.IsSorted(event.Dirs) {
			t.Errorf("%+v", event)
		}
		all = append(all, event.Dirs...)
		if slices.Contains(event.Dirs, last) {
			slices.Sort(all)
			return slices.Compact(all)
		}
	}
}

// inMemory is a temporary directory for many files, which takes a disk minutes to make.
func inMemory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "banger-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t testing.TB, parts ...string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(parts...), []byte("x"), 0o600))
}

func TestWhatChanges(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "end"), 0o755))
	write(t, dir, "a/b/file")
	must(t, os.Symlink("a/b", filepath.Join(dir, "link")))
	e := watch(t, dir)
	elsewhere := filepath.Join(t.TempDir(), "w")
	at := func(name string) string { return filepath.Join(dir, name) }
	for n, c := range []struct {
		what string
		do   func() error
		want string
	}{
		{"a new file", func() error { return os.WriteFile(at("a/new"), nil, 0o600) }, "a"},
		{"content", func() error { return os.WriteFile(at("a/b/file"), []byte("y"), 0o600) }, "a/b"},
		{"a mode", func() error { return os.Chmod(at("a/b/file"), 0o700) }, "a/b"},
		{"a time", func() error { return os.Chtimes(at("a/b/file"), time.Time{}, time.Unix(1, 0)) }, "a/b"},
		{"a link", func() error { return os.Symlink("x", at("a/b/c/link")) }, "a/b/c"},
		{"through a link", func() error { return os.WriteFile(at("link/c/file"), nil, 0o600) }, "a/b/c"},
		{"a new directory", func() error { return os.Mkdir(at("new"), 0o755) }, ". new"},
		{"a file in it", func() error { return os.WriteFile(at("new/file"), nil, 0o600) }, "new"},
		{"new directories", func() error { return os.MkdirAll(at("new/x/y/\xff"), 0o755) }, "new new/x new/x/y new/x/y/\xff"},
		{"a file in the last", func() error { return os.WriteFile(at("new/x/y/\xff/f"), nil, 0o600) }, "new/x/y/\xff"},
		{"a file renamed", func() error { return os.Rename(at("a/b/file"), at("new/file2")) }, "a/b new"},
		{"a directory renamed", func() error { return os.Rename(at("new/x"), at("a/z")) }, "a a/z a/z/y a/z/y/\xff new"},
		{"a file in one", func() error { return os.WriteFile(at("a/z/y/f"), nil, 0o600) }, "a/z/y"},
		{"one replaced", func() error {
			return errors.Join(os.Rename(at("a/z"), at("a/w")), os.Mkdir(at("a/z"), 0o755))
		}, "a a/w a/w/y a/w/y/\xff a/z"},
		{"a file in the new", func() error { return os.WriteFile(at("a/z/f"), nil, 0o600) }, "a/z"},
		{"a file in the old", func() error { return os.WriteFile(at("a/w/f"), nil, 0o600) }, "a/w"},
		{"the mode of a directory", func() error { return os.Chmod(at("a/w"), 0o700) }, "a a/w"},
		{"one moved out", func() error { return os.Rename(at("a/w"), elsewhere) }, "a"},
		{"a file in it there", func() error { return os.WriteFile(elsewhere+"/y/f", nil, 0o600) }, ""},
		{"removed", func() error { return os.Remove(at("new/file")) }, "new"},
		{"a directory removed", func() error { return os.RemoveAll(at("a/b")) }, "a a/b a/b/c"},
		{"one instead of it", func() error { return os.MkdirAll(at("a/b/c"), 0o755) }, "a a/b a/b/c"},
	} {
		must(t, c.do())
		write(t, dir, "end", fmt.Sprint(n))
		got := slices.DeleteFunc(e.dirs(t, "end"), func(s string) bool { return s == "end" })
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// TestWhatDoesNotCount: what is skipped, banger's own files, what is read, and other directories.
func TestWhatDoesNotCount(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"node_modules/x", "in/node_modules", "web/dist/x", "in/web/dist", "end"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	write(t, dir, "file")
	elsewhere := t.TempDir()
	must(t, os.Symlink(elsewhere, filepath.Join(dir, "link")))
	e := watch(t, dir, "node_modules/", "/web/dist", ".git")
	for _, name := range []string{"node_modules/x/f", "node_modules/f", "in/node_modules/f", "web/dist/x/f", ".banger-place-x", "link/f"} {
		write(t, dir, name)
	}
	must(t, os.MkdirAll(filepath.Join(dir, ".git/x"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "node_modules/y/z"), 0o755))
	must(t, os.Remove(filepath.Join(dir, ".banger-place-x")))
	_, err := os.ReadFile(filepath.Join(dir, "file"))
	must(t, err)
	write(t, dir, "end/file")
	if got := e.dirs(t, "end"); len(got) != 1 {
		t.Errorf("%q", got)
	}
	write(t, dir, "in/web/dist/f") // another than /web/dist
	if got := e.dirs(t, "in/web/dist"); len(got) != 1 {
		t.Errorf("%q", got)
	}
	write(t, dir, "web/file") // no directory has the name
	must(t, os.RemoveAll(filepath.Join(dir, "node_modules")))
	must(t, os.Mkdir(filepath.Join(dir, "in/sub"), 0o755))
	must(t, os.Rename(filepath.Join(dir, "in/sub"), filepath.Join(dir, ".banger-x")))
	write(t, dir, ".banger-x/file")
	must(t, os.Rename(filepath.Join(dir, ".banger-x"), filepath.Join(dir, "in/sub")))
	if got := e.dirs(t, "in/sub"); slices.Contains(got, ".banger-x") || slices.Contains(got, "node_modules") {
		t.Errorf("%q", got)
	}
}

// TestManyChangesAreOneEvent: what is written at about the same time; and what never ends is
// reported all the same.
func TestManyChangesAreOneEvent(t *testing.T) {
	dir := t.TempDir()
	e := watch(t, dir)
	for n := range 100 {
		write(t, dir, fmt.Sprint(n))
	}
	e.wait(t)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for n := 0; ; n++ {
			_ = os.WriteFile(filepath.Join(dir, "log"), []byte(fmt.Sprint(n)), 0o600)
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	began := time.Now()
	for range 5 {
		e.wait(t)
	}
	if took := time.Since(began); took < 2*longest || took > 60*longest {
		t.Errorf("5 events took %v", took)
	}
}

// TestTooManyDirectories: an event has a bounded number of them.
func TestTooManyDirectories(t *testing.T) {
	in := inMemory(t)
	dir := filepath.Join(in, "dir")
	must(t, os.Mkdir(dir, 0o755))
	e := watch(t, dir)
	for n := range MaxDirs {
		must(t, os.MkdirAll(filepath.Join(in, "many", fmt.Sprint(n)), 0o755))
	}
	must(t, os.Rename(filepath.Join(in, "many"), filepath.Join(dir, "many")))
	if event := e.wait(t); !event.All || len(event.Dirs) != 0 || event.Reason != "" {
		t.Errorf("all %v, %d directories, %q", event.All, len(event.Dirs), event.Reason)
	}
	write(t, dir, "many/17/file")
	if got := e.dirs(t, "many/17"); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// TestLostEvents: if the kernel drops events, all may have changed, and what comes later is watched.
func TestLostEvents(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o755))
	go1, events := make(chan struct{}), make(chan Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- Watch(ctx, dir, Options{}, func(e Event) error {
			events <- e
			<-go1
			return nil
		})
	}()
	if e := <-events; !e.Ready {
		t.Fatalf("%+v", e)
	}
	var queue int
	number, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	_, err = fmt.Sscan(string(number), &queue)
	must(t, err)
	for n := range queue/2 + 10 { // two different events of each, which are not merged
		name := filepath.Join(dir, "a", fmt.Sprint(n%10))
		must(t, os.WriteFile(name, nil, 0o600))
		must(t, os.Remove(name))
	}
	must(t, os.Mkdir(filepath.Join(dir, "b"), 0o755)) // no event reports it
	close(go1)
	for {
		e := <-events
		if e.All {
			if e.Ready || e.Reason != "" {
				t.Errorf("%+v", e)
			}
			break
		}
	}
	write(t, dir, "b/file")
	if e := <-events; e.All || strings.Join(e.Dirs, " ") != "b" {
		t.Errorf("%+v", e)
	}
	cancel()
	<-ended
}

func TestWatchEnds(t *testing.T) {
	for name, do := range map[string]func(dir string) error{
		"removed": os.RemoveAll,
		"renamed": func(dir string) error { return os.Rename(dir, dir+"2") },
	} {
		dir := filepath.Join(t.TempDir(), "dir")
		must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
		e := watch(t, dir)
		must(t, do(dir))
		select {
		case err := <-e.ended:
			if api.KindOf(err) != api.KindNotFound {
				t.Errorf("%s: %v", name, err)
			}
			e.ended <- nil
		case <-time.After(20 * time.Second):
			t.Errorf("%s: it does not end", name)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	time.AfterFunc(20*time.Millisecond, func() { cancel(enough) })
	if err := Watch(ctx, t.TempDir(), Options{}, func(Event) error { return nil }); !errors.Is(err, enough) {
		t.Errorf("its context ended: %v", err)
	}
	if err := Watch(t.Context(), t.TempDir(), Options{}, func(Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("its function failed: %v", err)
	}
	none := filepath.Join(t.TempDir(), "none")
	if err := Watch(t.Context(), none, Options{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that does not exist: %v", err)
	}
	write(t, none)
	if err := Watch(t.Context(), none, Options{}, nil); err == nil {
		t.Error("a file is watched as a directory")
	}
}
