package vm

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
)

// said is a log that is read while it is written.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), text)
}

// TestADiskThatTheHostCannotWrite: a VM whose guest gets I/O errors, as its VMM does not pause,
// goes on running, and says what is wrong and what to type, in a list, too; once it can write
// again it says nothing. A broken one stays so until it is started again.
func TestADiskThatTheHostCannotWrite(t *testing.T) {
	h := &host{}
	w := newWorldOn(t, h)
	log := &said{}
	w.instances.Logger = slog.New(slog.NewTextHandler(log, nil))
	var full atomic.Bool
	w.instances.Room = func(int64) error {
		if full.Load() {
			return api.Errorf(api.KindNoSpace, "the disk is full")
		}
		return nil
	}
	w.instances.StallEvery = 5 * time.Millisecond
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	reason := func(is func(why string) bool) {
		t.Helper()
		var v api.VM
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			all, err := w.List(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			if v = all[0]; is(v.Reason) && v.State == api.StateRunning && w.show("dev").Reason == v.Reason {
				return
			}
		}
		t.Fatalf("it is %s: %q", v.State, v.Reason)
	}
	none := func(why string) bool { return why == "" }

	full.Store(true)
	reason(func(why string) bool {
		return strings.Contains(why, "the disk of this host is full") && strings.Contains(why, "banger image prune")
	})
	w.health("dev")
	full.Store(false)
	reason(none)

	full.Store(true)
	h.use(&api.DiskUsage{Broken: "the host could not write to its copy-on-write file"})
	broken := func(why string) bool {
		return strings.Contains(why, "could not write") && strings.Contains(why, "banger vm kill dev && banger vm start dev")
	}
	reason(broken)
	full.Store(false)
	time.Sleep(20 * w.instances.StallEvery)
	reason(broken) // the kernel does not write it again by itself
	h.use(&api.DiskUsage{UsedBytes: 1, TotalBytes: 2})
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	reason(none)

	if n := log.count("the disk of a VM cannot be written"); n != 2 && n != 3 {
		t.Errorf("the log says %d times that it cannot be written", n)
	}
	if log.count("vm=dev") == 0 || log.count("can be written again") == 0 {
		t.Error("the log does not say which, or when it can be written again")
	}
}
