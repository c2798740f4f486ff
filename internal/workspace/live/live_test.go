package live

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// side is a side of which the test says what happens there.
type side struct {
	begun  atomic.Int32
	change chan struct{}
	end    chan error
}

func newSide() *side { return &side{change: make(chan struct{}), end: make(chan error)} }

func (s *side) watch(ctx context.Context, changed func()) error {
	s.begun.Add(1)
	changed()
	for {
		select {
		case <-s.change:
			changed()
		case err := <-s.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run runs a loop in a bubble of its own and ends it after test.
func run(t *testing.T, l Loop, test func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { l.Run(ctx); close(ended) }()
	synctest.Wait()
	test()
	cancel()
	<-ended
}

func TestPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int32
		here, there := newSide(), newSide()
		l := Loop{
			Pass:  func(context.Context) (bool, error) { passes.Add(1); return false, nil },
			Sides: []Side{here.watch, there.watch}, Rescan: time.Hour,
		}
		run(t, l, func() {
			before := passes.Load()
			if before == 0 {
				t.Fatal("no pass at the beginning")
			}
			for _, s := range []*side{here, there} {
				s.change <- struct{}{}
				synctest.Wait()
				if before++; passes.Load() != before {
					t.Errorf("%d passes after a change, want %d", passes.Load(), before)
				}
			}
			time.Sleep(59 * time.Minute)
			if passes.Load() != before {
				t.Errorf("%d passes although nothing has changed, want %d", passes.Load(), before)
			}
			time.Sleep(2 * time.Minute)
			if passes.Load() != before+1 {
				t.Errorf("%d passes after an hour without a change, want %d", passes.Load(), before+1)
			}
		})
	})
}

// TestChangesDuringAPass: however many there are, one more pass sees them all.
func TestChangesDuringAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int32
		s := newSide()
		l := Loop{
			Pass:  func(context.Context) (bool, error) { passes.Add(1); time.Sleep(time.Second); return false, nil },
			Sides: []Side{s.watch}, Rescan: time.Hour,
		}
		run(t, l, func() {
			time.Sleep(10 * time.Second)
			before := passes.Load()
			for range 5 {
				s.change <- struct{}{}
			}
			time.Sleep(10 * time.Second)
			if passes.Load() != before+2 {
				t.Errorf("%d passes after five changes at once, want %d", passes.Load(), before+2)
			}
		})
	})
}

// TestPassWantsAnother: it runs at once.
func TestPassWantsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int32
		l := Loop{Pass: func(context.Context) (bool, error) { return passes.Add(1) < 4, nil }, Rescan: time.Hour}
		run(t, l, func() {
			if passes.Load() != 4 {
				t.Errorf("%d passes, want 4", passes.Load())
			}
		})
	})
}

// TestFailures: a pass that fails is tried again, each time later, and a side that ends is
// watched again.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes, failed atomic.Int32
		broken := errors.New("broken")
		s := newSide()
		l := Loop{
			Pass: func(context.Context) (bool, error) {
				if passes.Add(1) <= 3 {
					return true, broken
				}
				return false, nil
			},
			Sides: []Side{s.watch}, Rescan: time.Hour,
			Failed: func(err error) { failed.Add(1); t.Log(err) },
		}
		run(t, l, func() {
			time.Sleep(time.Minute)
			if failed.Load() != 3 || passes.Load() < 4 {
				t.Errorf("%d failures in %d passes, want three and one more pass", failed.Load(), passes.Load())
			}
			before := passes.Load()
			s.end <- errors.New("the connection broke")
			time.Sleep(time.Minute)
			if s.begun.Load() != 2 || passes.Load() != before+1 || failed.Load() != 4 {
				t.Errorf("watched %d times, %d more passes, %d failures; want 2, 1 and 4", s.begun.Load(), passes.Load()-before, failed.Load())
			}
			s.end <- errors.New("it broke again")
			time.Sleep(firstPause + time.Millisecond)
			if s.begun.Load() != 3 {
				t.Error("a side that was watched for long is not watched again at once")
			}
		})
	})
}

// TestPauses: what fails for ever is tried again every ten seconds.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes, begun atomic.Int32
		l := Loop{
			Pass:   func(context.Context) (bool, error) { passes.Add(1); return false, errors.New("no space") },
			Sides:  []Side{func(context.Context, func()) error { begun.Add(1); return errors.New("not running") }},
			Rescan: 30 * time.Second,
		}
		run(t, l, func() {
			time.Sleep(time.Hour)
			for what, n := range map[string]int32{"passes": passes.Load(), "begun": begun.Load()} {
				if n < 350 || n > 380 {
					t.Errorf("%s: %d in an hour, want about 360", what, n)
				}
			}
		})
	})
}
