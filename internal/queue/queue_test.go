package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nobody(int) {}

// waitFor waits until so many wait.
func waitFor(t *testing.T, q *Queue, n int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		q.mu.Lock()
		waiting := len(q.waiting)
		q.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, not %d", waiting, n)
		}
	}
}

// TestOrder has callers come in any order: the one who has waited longest is next, and
// each is told how many wait before it.
func TestOrder(t *testing.T) {
	q := New(1)
	leave, err := q.Enter(t.Context(), time.Time{}, nobody)
	if err != nil {
		t.Fatal(err)
	}
	epoch := time.Now()
	var order []int
	var all sync.WaitGroup
	told := make([][]int, 4)
	for n, since := range []int{2, 0, 3, 1} { // they come in this order
		all.Go(func() {
			leave, err := q.Enter(t.Context(), epoch.Add(time.Duration(since)*time.Second), func(ahead int) { told[since] = append(told[since], ahead) })
			if err != nil {
				t.Error(err)
				return
			}
			order = append(order, since) // the queue's own lock orders these
			leave()
		})
		waitFor(t, q, n+1)
	}
	leave()
	leave() // once more changes nothing
	all.Wait()
	for n, since := range order {
		if n != since {
			t.Fatalf("the order is %v", order)
		}
	}
	if first := told[3]; len(first) == 0 || first[0] > 3 {
		t.Errorf("the last one was told %v", first)
	}
	if q.free != 1 {
		t.Errorf("%d places are free", q.free)
	}
}

// TestBound has a crowd work: never more than the bound at once.
func TestBound(t *testing.T) {
	q := New(3)
	var now, most atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			leave, err := q.Enter(t.Context(), time.Now(), nobody)
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(time.Millisecond)
			now.Add(-1)
		})
	}
	all.Wait()
	if most.Load() != 3 || q.free != 3 {
		t.Errorf("%d worked at once; %d places are free", most.Load(), q.free)
	}
}

// TestGivingUp: who gives up holds up nobody, also where its turn comes at that moment.
func TestGivingUp(t *testing.T) {
	q := New(1)
	for range 200 {
		leave, err := q.Enter(t.Context(), time.Now(), nobody)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("gave up")
		var all sync.WaitGroup
		all.Go(func() {
			if leave, err := q.Enter(ctx, time.Now(), nobody); err == nil {
				leave()
			} else if !errors.Is(err, why) {
				t.Error(err)
			}
		})
		waitFor(t, q, 1)
		all.Go(leave)
		cancel(why)
		all.Wait()
	}
	if q.free != 1 {
		t.Errorf("%d places are free", q.free)
	}
}

// TestForce: who works already counts, and waits for nobody.
func TestForce(t *testing.T) {
	q := New(1)
	first, second := q.Force(), q.Force()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	first()
	if _, err := q.Enter(ctx, time.Now(), nobody); err == nil {
		t.Error("there was a place beside one who was forced in")
	}
	second()
	leave, err := q.Enter(t.Context(), time.Now(), nobody)
	if err != nil {
		t.Fatal(err)
	}
	leave()
}
