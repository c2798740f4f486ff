package logging

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// burst is how often the same is written at once, and every how often after that, for
	// as long as it goes on: what is tried again every few seconds makes a few lines an hour.
	burst = 5
	every = 10 * time.Minute
	// mostKinds bounds what is remembered: beyond it, messages are the same that only
	// begin the same.
	mostKinds = 1000
)

// Limit is a slog.Handler that bounds how often the same is written: a message with its
// attributes, but for "error", which may differ each time. Of what comes after the first few
// the newest is written every ten minutes, with how many were left out.
type Limit struct {
	to    slog.Handler
	with  string // what WithAttrs and WithGroup have said
	kinds *kinds
}

// kinds is what is shared by handlers of one log.
type kinds struct {
	every time.Duration

	mu sync.Mutex
	by map[string]*kind
}

// kind is one message that was written in the last while.
type kind struct {
	written int
	to      slog.Handler
	last    slog.Record // the newest that was not written
	left    int         // how many were not
}

// NewLimit returns a handler that writes to the handler to.
func NewLimit(to slog.Handler) *Limit { return newLimit(to, every) }

func newLimit(to slog.Handler, every time.Duration) *Limit {
	return &Limit{to: to, kinds: &kinds{every: every, by: map[string]*kind{}}}
}

// Enabled implements slog.Handler.
func (l *Limit) Enabled(ctx context.Context, level slog.Level) bool { return l.to.Enabled(ctx, level) }

// WithAttrs implements slog.Handler.
func (l *Limit) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Limit{to: l.to.WithAttrs(attrs), with: fmt.Sprint(l.with, attrs), kinds: l.kinds}
}

// WithGroup implements slog.Handler.
func (l *Limit) WithGroup(name string) slog.Handler {
	return &Limit{to: l.to.WithGroup(name), with: l.with + name + ".", kinds: l.kinds}
}

// Handle implements slog.Handler.
func (l *Limit) Handle(ctx context.Context, r slog.Record) error {
	if l.kinds.leave(l, r) {
		return nil
	}
	return l.to.Handle(ctx, r)
}

// name says which records are the same.
func (l *Limit) name(r slog.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s %s", l.with, r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "error" {
			fmt.Fprintf(&b, " %s", a)
		}
		return true
	})
	return b.String()
}

// leave says whether a record is left out for now.
func (k *kinds) leave(l *Limit, r slog.Record) bool {
	name := l.name(r)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by[name] == nil && len(k.by) >= mostKinds {
		name = r.Message
	}
	of := k.by[name]
	if of == nil {
		of = &kind{}
		k.by[name] = of
		time.AfterFunc(k.every, func() { k.sum(name, of) })
	}
	if of.written < burst {
		of.written++
		return false
	}
	of.to, of.last = l.to, r.Clone()
	of.left++
	return true
}

// sum writes the newest of what was left out since the last time. When nothing was, the
// message may come as often as at first again.
func (k *kinds) sum(name string, of *kind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if of.left == 0 {
		delete(k.by, name)
		return
	}
	of.write()
	time.AfterFunc(k.every, func() { k.sum(name, of) })
}

// write writes the newest record, and how many others of its kind were not written.
func (of *kind) write() {
	if of.left > 1 {
		of.last.AddAttrs(slog.Int("left_out", of.left-1))
	}
	_ = of.to.Handle(context.Background(), of.last) // as slog does: nobody could be told
	of.left = 0
}

// Flush writes what was left out so far: for the end of the process.
func (l *Limit) Flush() {
	l.kinds.mu.Lock()
	defer l.kinds.mu.Unlock()
	for _, of := range l.kinds.by {
		if of.left > 0 {
			of.write()
		}
	}
}
