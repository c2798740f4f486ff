package guest_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/treewatch"
)

// watching watches a directory of a guest until the test ends. It returns when all is watched.
func watching(t *testing.T, c *guest.Client, dir string) (next func() treewatch.Event, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, end := make(chan treewatch.Event, 100), make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		end <- c.Watch(ctx, dir, treewatch.Options{Skip: []string{".git"}}, func(e treewatch.Event) error {
			events <- e
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	next = func() treewatch.Event {
		t.Helper()
		select {
		case e := <-events:
			return e
		case err := <-end:
			t.Fatalf("it ended: %v", err)
		case <-time.After(20 * time.Second):
			t.Fatal("no event has come for 20 seconds")
		}
		return treewatch.Event{}
	}
	if e := next(); !e.Ready || e.All {
		t.Fatalf("the first event is %+v", e)
	}
	return next, end
}

func TestWatch(t *testing.T) {
	c, root := newClient(t)
	dir := filepath.Join(root, "work")
	if err := os.MkdirAll(filepath.Join(dir, "a/.git"), 0o755); err != nil {
		t.Fatal(err)
	}
	next, ended := watching(t, c, "/work")
	for _, name := range []string{"a/.git/index", "a/file"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if e := next(); strings.Join(e.Dirs, " ") != "a" {
		t.Errorf("%+v", e)
	}
	if list, err := c.Sessions(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("it is listed among the tasks: %+v, %v", list, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if api.KindOf(err) != api.KindNotFound || err.Error() != "cannot watch /work in the guest: no such file or directory" {
			t.Errorf("its directory was removed: %v, of kind %s", err, api.KindOf(err))
		}
	case <-time.After(20 * time.Second):
		t.Error("its directory was removed, and it does not end")
	}
	own := errors.New("own")
	if err := c.Watch(t.Context(), "/", treewatch.Options{}, func(treewatch.Event) error { return own }); !errors.Is(err, own) {
		t.Errorf("its function failed: %v", err)
	}
	if err := c.Watch(t.Context(), "/none", treewatch.Options{}, nil); api.KindOf(err) != api.KindNotFound {
		t.Errorf("the directory does not exist: %v", err)
	}
}

// TestWatchSurvivesTheLink: what changes while the link is broken is reported after it.
func TestWatchSurvivesTheLink(t *testing.T) {
	root := t.TempDir()
	path := startAgent(t, agent.Options{Root: root})
	link := connect(t, path)
	dial := make(chan *guest.Link, 1)
	dial <- link
	c := &guest.Client{Patience: 20 * time.Second, Dial: func(ctx context.Context) (net.Conn, error) {
		l := <-dial
		dial <- l
		return l.Open(ctx)
	}}
	next, _ := watching(t, c, "/")
	<-dial
	link.Close()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dial <- connect(t, path)
	if e := next(); strings.Join(e.Dirs, " ") != "." {
		t.Errorf("%+v", e)
	}
}

// TestWatchIsCancelled: also if the guest sends nothing; and the agent's end of it ends, too, which
// frees its watches.
func TestWatchIsCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	client := &guest.Client{Dial: hostile(t, lister([]byte("\x01"))).Open}
	if err := client.Watch(ctx, "/w", treewatch.Options{}, nil); api.KindOf(err) != api.KindTimeout {
		t.Errorf("%v, of kind %s", err, api.KindOf(err))
	}
	c, _ := newClient(t)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	before := inotifies(t)
	err := c.Watch(ctx, "/", treewatch.Options{}, func(treewatch.Event) error {
		if inotifies(t) != before+1 {
			t.Error("nothing is watched")
		}
		cancel()
		return nil
	})
	if api.KindOf(err) != api.KindCanceled {
		t.Errorf("%v, of kind %s", err, api.KindOf(err))
	}
	for end := time.Now().Add(10 * time.Second); inotifies(t) > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the agent still watches")
		}
	}
}

// inotifies is how many inotify instances this process has.
func inotifies(t *testing.T) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range list {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == "anon_inode:inotify" {
			n++
		}
	}
	return n
}
