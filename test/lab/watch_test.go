package lab

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// waiting is a scenario that waits for what does not come.
func waiting(l *Lab) func() {
	return func() {
		<-l.ctx.Done()
		l.Failf("cannot run in the lab: sleep 1000\nthe session was given up: %v", context.Cause(l.ctx))
	}
}

// TestHungLabIsGivenUp: a lab that answers nothing any more is given up within two
// minutes, with one sentence, and is not asked again.
func TestHungLabIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		l := newLab(&checks{ctx: t.Context()}, nil, nil, "qemu")
		l.health.ping = func(ctx context.Context) error {
			asked++
			if asked == 1 {
				return nil // it hangs later
			}
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		err := l.guarded(t.Context(), io.Discard, waiting(l))
		const want = "the lab is given up: it hangs, and ran no program within 60 s (cannot run in the lab: sleep 1000)"
		if err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
		hung := askEvery // the question that it answered
		if took := time.Since(began) - hung; took > 2*time.Minute {
			t.Errorf("given up after %s", took)
		}
		now := asked
		if l.health.alive() == nil || asked != now {
			t.Error("it is asked again")
		}
	})
}

// TestLabThatEnded: a lab that is gone is noticed at the next question.
func TestLabThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(&checks{ctx: t.Context()}, nil, nil, "qemu")
		l.health.ping = func(context.Context) error { return errors.New("connection reset by peer") }
		began := time.Now()
		err := l.guarded(t.Context(), io.Discard, waiting(l))
		const want = "the lab is given up: it has ended: connection reset by peer (cannot run in the lab: sleep 1000)"
		if err == nil || err.Error() != want || time.Since(began) > askEvery {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestBusyLabIsNotGivenUp: one that answers late is waited for.
func TestBusyLabIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(&checks{ctx: t.Context()}, nil, nil, "qemu")
		l.health.ping = func(context.Context) error { time.Sleep(answerBy - time.Second); return nil }
		if err := l.guarded(t.Context(), io.Discard, func() { time.Sleep(askEvery + answerBy) }); err != nil {
			t.Error(err)
		}
	})
}
