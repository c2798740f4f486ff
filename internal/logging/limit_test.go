package logging

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a log, a line for each record.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, strings.TrimSpace(string(p)))
	return len(p), nil
}

func (l *lines) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// limited is a log without times.
func limited(every time.Duration) (*slog.Logger, *Limit, *lines) {
	to := &lines{}
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	limit := newLimit(slog.NewTextHandler(to, &slog.HandlerOptions{ReplaceAttr: noTime}), every)
	return slog.New(limit), limit, to
}

// TestWhatIsTriedAgainForEver makes few lines, which say how many there would be; what is
// said of another VM is written all the same.
func TestWhatIsTriedAgainForEver(t *testing.T) {
	log, limit, to := limited(time.Hour)
	for i := range 1000 {
		log.Warn("no link", "vm", "a", "error", fmt.Errorf("try %d", i))
	}
	log.Warn("no link", "vm", "b", "error", errors.New("another"))
	log.With("vm", "c").Warn("no link")
	limit.Flush()
	var want []string
	for i := range burst {
		want = append(want, fmt.Sprintf(`level=WARN msg="no link" vm=a error="try %d"`, i))
	}
	want = append(want,
		`level=WARN msg="no link" vm=b error=another`,
		`level=WARN msg="no link" vm=c`,
		fmt.Sprintf(`level=WARN msg="no link" vm=a error="try 999" left_out=%d`, 1000-burst-1))
	if got := to.seen(); !slices.Equal(got, want) {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}
}

// TestLeftOutIsSaidInTime, also if nothing comes after it, and then all is as at first.
func TestLeftOutIsSaidInTime(t *testing.T) {
	log, limit, to := limited(20 * time.Millisecond)
	for range burst + 3 {
		log.Warn("again")
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		limit.kinds.mu.Lock()
		known := len(limit.kinds.by)
		limit.kinds.mu.Unlock()
		if known == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%q", to.seen())
		}
	}
	got := to.seen()
	if len(got) != burst+1 || !strings.HasSuffix(got[burst], "left_out=2") {
		t.Errorf("%q", got)
	}
	log.Warn("again")
	if got := to.seen(); len(got) != burst+2 {
		t.Errorf("%q", got)
	}
}

// TestManyKindsAreRememberedWithinABound.
func TestManyKindsAreRememberedWithinABound(t *testing.T) {
	log, limit, to := limited(time.Hour)
	const asked = 3 * mostKinds
	for i := range asked {
		log.Error("request failed", "path", i)
	}
	if known := len(limit.kinds.by); known > mostKinds+1 {
		t.Errorf("%d are remembered", known)
	}
	limit.Flush()
	got := to.seen()
	if len(got) != mostKinds+burst+1 || !strings.HasSuffix(got[len(got)-1], fmt.Sprintf("left_out=%d", asked-len(got))) {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
}
