// Package queue lets a bounded number of callers work at the same time, the others wait
// in order.
package queue

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Queue bounds how many work at the same time. The zero value is not ready: call New.
type Queue struct {
	mu      sync.Mutex
	free    int // below zero where Force has taken more than there are
	waiting []*waiter
}

type waiter struct {
	since time.Time
	turn  chan struct{} // closed when it may begin; guarded by Queue.mu
	moved chan struct{} // has room for one: its place has changed
	ahead int           // how many wait before it
}

// New returns a queue that lets n work at the same time, at least one.
func New(n int) *Queue { return &Queue{free: max(1, n)} }

// Enter returns when the caller may work, and leave ends its work. The one with the
// earliest since is next: who has waited under an earlier daemon goes on in its place.
// waits is called, never at the same time as itself, with how many wait before the caller,
// when it begins to wait and whenever that changes. The error is the cause of ctx's end.
func (q *Queue) Enter(ctx context.Context, since time.Time, waits func(ahead int)) (leave func(), err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	w := q.join(since)
	if w == nil {
		return q.leaver(), nil
	}
	for {
		select {
		case <-w.turn:
			return q.leaver(), nil
		case <-w.moved:
			q.mu.Lock()
			ahead := w.ahead
			q.mu.Unlock()
			waits(ahead)
		case <-ctx.Done():
			q.giveUp(w)
			return nil, context.Cause(ctx)
		}
	}
}

// Force is Enter for who works already: it waits for nobody.
func (q *Queue) Force() (leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free--
	return q.leaver()
}

// join returns the caller's place, nil where it may work at once.
func (q *Queue) join(since time.Time) *waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free > 0 && len(q.waiting) == 0 {
		q.free--
		return nil
	}
	w := &waiter{since: since, turn: make(chan struct{}), moved: make(chan struct{}, 1), ahead: -1}
	at, _ := slices.BinarySearchFunc(q.waiting, w, func(other, w *waiter) int {
		if other.since.After(w.since) {
			return 1
		}
		return -1
	})
	q.waiting = slices.Insert(q.waiting, at, w)
	q.advance()
	return w
}

// advance lets those in whose turn it is, and tells the others where they are. The caller
// holds mu.
func (q *Queue) advance() {
	for q.free > 0 && len(q.waiting) > 0 {
		q.free--
		close(q.waiting[0].turn)
		q.waiting = slices.Delete(q.waiting, 0, 1)
	}
	for n, w := range q.waiting {
		if w.ahead == n {
			continue
		}
		w.ahead = n
		select {
		case w.moved <- struct{}{}:
		default: // it has not yet looked at the last change
		}
	}
}

// giveUp takes a caller out that waits no longer. It may have had its turn meanwhile.
func (q *Queue) giveUp(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at := slices.Index(q.waiting, w); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
	} else {
		q.free++
	}
	q.advance()
}

// leaver returns what ends a work, once.
func (q *Queue) leaver() func() {
	return sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.free++
		q.advance()
	})
}
