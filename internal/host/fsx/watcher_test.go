package fsx

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestWatcher(t *testing.T) *Watcher {
	t.Helper()
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// TestWatcherMissesNothingAfterAdd: a change between Add and Wait ends the Wait.
func TestWatcherMissesNothingAfterAdd(t *testing.T) {
	dir, w := t.TempDir(), newTestWatcher(t)
	wd, err := w.Add(dir, unix.IN_CREATE)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "new"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "newer"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	events, err := w.Events()
	if err != nil || len(events) != 1 || events[0].WD != wd || events[0].Mask&unix.IN_CREATE == 0 {
		t.Errorf("%+v, %v", events, err)
	}
}

// TestWatcherWaitEnds: with its context, for the context's cause, or with the watcher.
func TestWatcherWaitEnds(t *testing.T) {
	w, cause := newTestWatcher(t), errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	if err := w.Wait(ctx); !errors.Is(err, cause) {
		t.Errorf("its context ended: %v", err)
	}
	w = newTestWatcher(t)
	time.AfterFunc(20*time.Millisecond, func() { w.Close() })
	if err := w.Wait(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("it was closed: %v", err)
	}
}

// TestWatcherWaitsBesideAFile: a change counts, though the file is readable, too.
func TestWatcherWaitsBesideAFile(t *testing.T) {
	dir, w := t.TempDir(), newTestWatcher(t)
	r, end, err := os.Pipe()
	if err == nil {
		_, err = w.Add(dir, unix.IN_CREATE)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wait := func(want bool, most time.Duration) {
		t.Helper()
		if readable, err := w.WaitBeside(r, most); err != nil || readable != want {
			t.Errorf("readable: %t, %v", readable, err)
		}
	}
	wait(false, 10*time.Millisecond)
	end.Close() // which the reader notices
	wait(true, time.Minute)
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(false, time.Minute)
	wait(true, time.Minute)
}

func TestWatcherForgetsWhatIsRemoved(t *testing.T) {
	dir, w := t.TempDir(), newTestWatcher(t)
	wd, err := w.Add(dir, unix.IN_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	w.Remove(wd)
	w.Remove(wd) // it has ended already
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	events, err := w.Events()
	if err != nil || len(events) != 1 || events[0].Mask&unix.IN_IGNORED == 0 {
		t.Errorf("%+v, %v", events, err)
	}
	if _, err := w.Add(filepath.Join(dir, "none"), unix.IN_CREATE); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

func FuzzParseEvents(f *testing.F) {
	f.Add([]byte(strings.Repeat("\x01\x00\x00\x00", 4)))
	f.Fuzz(func(_ *testing.T, data []byte) { parseEvents(data) })
}

func TestWatcherIsNotForOtherPrograms(t *testing.T) {
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.control(func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if flags&unix.FD_CLOEXEC == 0 {
			t.Error("other programs get the watch")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
