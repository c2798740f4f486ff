package live

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// side is a side of which the test says what happens there.
type side struct {
	begun  int
	change chan struct{}
	end    chan error
}

func newSide() *side { return &side{change: make(chan struct{}), end: make(chan error)} }

func (s *side) watch(ctx context.Context, changed func()) error {
	s.begun++
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
		passes, here, there := 0, newSide(), newSide()
		l := Loop{
			Pass:  func(context.Context) (bool, error) { passes++; return false, nil },
			Sides: []Side{here.watch, there.watch}, Rescan: time.Hour,
		}
		run(t, l, func() {
			before := passes
			if before == 0 {
				t.Fatal("no pass at the beginning")
			}
			for _, s := range []*side{here, there} {
				s.change <- struct{}{}
				synctest.Wait()
				if before++; passes != before {
					t.Errorf("%d passes after a change, want %d", passes, before)
				}
			}
			time.Sleep(59 * time.Minute)
			if passes != before {
				t.Errorf("%d passes although nothing has changed, want %d", passes, before)
			}
			time.Sleep(2 * time.Minute)
			if passes != before+1 {
				t.Errorf("%d passes after an hour without a change, want %d", passes, before+1)
			}
		})
	})
}

// TestChangesDuringAPass: however many there are, one more pass sees them all.
func TestChangesDuringAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passes, s := 0, newSide()
		l := Loop{
			Pass:  func(context.Context) (bool, error) { passes++; time.Sleep(time.Second); return false, nil },
			Sides: []Side{s.watch}, Rescan: time.Hour,
		}
		run(t, l, func() {
			time.Sleep(10 * time.Second)
			before := passes
			for range 5 {
				s.change <- struct{}{}
			}
			time.Sleep(10 * time.Second)
			if passes != before+2 {
				t.Errorf("%d passes after five changes at once, want %d", passes, before+2)
			}
		})
	})
}

// TestPassWantsAnother: it runs at once.
func TestPassWantsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passes := 0
		l := Loop{Pass: func(context.Context) (bool, error) { passes++; return passes < 4, nil }, Rescan: time.Hour}
		run(t, l, func() {
			if passes != 4 {
				t.Errorf("%d passes, want 4", passes)
			}
		})
	})
}

// TestFailures: a pass that fails is tried again, each time later, and a side that ends is
// watched again.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes int
		var failed []error
		broken := errors.New("broken")
		s := newSide()
		l := Loop{
			Pass: func(context.Context) (bool, error) {
				passes++
				if passes <= 3 {
					return true, broken
				}
				return false, nil
			},
			Sides: []Side{s.watch}, Rescan: time.Hour,
			Failed: func(err error) { failed = append(failed, err) },
		}
		run(t, l, func() {
			time.Sleep(time.Minute)
			if len(failed) != 3 || passes < 4 {
				t.Errorf("failures %v in %d passes, want three and one more pass", failed, passes)
			}
			before := passes
			s.end <- errors.New("the connection broke")
			time.Sleep(time.Minute)
			if s.begun != 2 || passes != before+1 || len(failed) != 4 {
				t.Errorf("watched %d times, %d more passes, failures %v; want 2, 1, and the side's", s.begun, passes-before, failed)
			}
			s.end <- errors.New("it broke again")
			time.Sleep(firstPause + time.Millisecond)
			if s.begun != 3 {
				t.Error("a side that was watched for long is not watched again at once")
			}
		})
	})
}

// TestPauses: what fails for ever is tried again every ten seconds.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passes, begun := 0, 0
		l := Loop{
			Pass:   func(context.Context) (bool, error) { passes++; return false, errors.New("no space") },
			Sides:  []Side{func(context.Context, func()) error { begun++; return errors.New("not running") }},
			Rescan: 30 * time.Second,
		}
		run(t, l, func() {
			time.Sleep(time.Hour)
			for what, n := range map[string]int{"passes": passes, "begun": begun} {
				if n < 350 || n > 380 {
					t.Errorf("%s: %d in an hour, want about 360", what, n)
				}
			}
		})
	})
}
