// Package live runs passes of a sync for as long as it is told to: when something changes on one
// of the sides, when what watches a side begins again, and now and then in any case.
package live

import (
	"context"
	"sync"
	"time"
)

// Side watches one side until ctx ends or it cannot any longer, and calls changed when something
// has changed there, and when it has begun to watch.
type Side func(ctx context.Context, changed func()) error

// Loop says what is run.
type Loop struct {
	// Pass makes both sides the same. again means that something changed meanwhile.
	Pass func(ctx context.Context) (again bool, err error)
	// Sides are watched.
	Sides []Side
	// Failed, unless nil, is called with the error of a pass or a side, which is tried again.
	// It is called from one goroutine at a time.
	Failed func(error)
	// Rescan is the time after which a pass is run although nothing was reported.
	Rescan time.Duration
}

// The pauses before something that has failed is tried again: the first, and the longest, to which
// they double. They are choices, not measured.
const (
	firstPause = 250 * time.Millisecond
	mostPause  = 10 * time.Second
)

// Run runs passes until ctx ends, and returns when the last one and the sides have ended.
func (l Loop) Run(ctx context.Context) {
	var sides sync.WaitGroup
	defer sides.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	failures := make(chan error)
	for _, side := range l.Sides {
		sides.Go(func() { keepWatching(ctx, side, func() { offer(changed) }, failures) })
	}
	offer(changed)
	pause := time.Duration(0)
	timer := time.NewTimer(l.Rescan)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case err := <-failures:
			l.failed(err)
			continue
		case <-changed:
		case <-timer.C:
		}
		again, err := l.Pass(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := l.Rescan
		if err == nil {
			pause = 0
		} else {
			l.failed(err)
			pause = longer(pause)
			wait = min(wait, pause)
		}
		if again && err == nil {
			offer(changed)
		}
		timer.Reset(wait)
	}
}

func (l Loop) failed(err error) {
	if l.Failed != nil {
		l.Failed(err)
	}
}

// keepWatching begins again to watch a side when that has ended.
func keepWatching(ctx context.Context, side Side, changed func(), failures chan<- error) {
	pause := time.Duration(0)
	for {
		err := side(ctx, func() { pause = 0; changed() })
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			select {
			case failures <- err:
			case <-ctx.Done():
				return
			}
		}
		pause = longer(pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// longer returns the next pause.
func longer(pause time.Duration) time.Duration {
	return min(max(2*pause, firstPause), mostPause)
}

// offer makes sure that there is something in a channel of one place.
func offer(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
