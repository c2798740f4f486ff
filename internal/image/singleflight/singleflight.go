// Package singleflight runs work once for all callers that request it at the same time.
package singleflight

import (
	"context"
	"sync"

	"banger/api"
)

// Group runs each piece of work once for all callers that request it at the same time.
// The zero Group is ready to use.
type Group struct {
	mu  sync.Mutex
	all map[string]*flight
}

type flight struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed when the work has ended
	err     error
	waiting map[*api.Report]struct{}
	last    *api.Progress
}

// Do runs work, or joins it if it is running. The work is canceled when the last
// waiting caller gives up; that caller returns after the work has cleaned up.
func (g *Group) Do(ctx context.Context, key string, report api.Report, work func(context.Context, api.Report) error) error {
	for {
		g.mu.Lock()
		fl := g.all[key]
		if fl == nil {
			fl = g.start(ctx, key, work)
		} else if len(fl.waiting) == 0 { // given up: wait for its end and start again
			g.mu.Unlock()
			select {
			case <-fl.done:
				continue
			case <-ctx.Done():
				return canceled(ctx)
			}
		}
		fl.waiting[&report] = struct{}{}
		if fl.last != nil {
			report(*fl.last)
		}
		g.mu.Unlock()
		return g.wait(ctx, fl, &report)
	}
}

// start starts work. The caller holds mu.
func (g *Group) start(ctx context.Context, key string, work func(context.Context, api.Report) error) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl := &flight{cancel: cancel, done: make(chan struct{}), waiting: map[*api.Report]struct{}{}}
	if g.all == nil {
		g.all = map[string]*flight{}
	}
	g.all[key] = fl
	go func() {
		err := work(ctx, func(p api.Progress) { g.tell(fl, p) })
		g.mu.Lock()
		fl.err = err
		delete(g.all, key)
		g.mu.Unlock()
		cancel()
		close(fl.done)
	}()
	return fl
}

func (g *Group) tell(fl *flight, p api.Progress) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fl.last = &p
	for report := range fl.waiting {
		(*report)(p)
	}
}

func (g *Group) wait(ctx context.Context, fl *flight, report *api.Report) error {
	select {
	case <-fl.done:
		return fl.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	delete(fl.waiting, report)
	last := len(fl.waiting) == 0
	g.mu.Unlock()
	if last {
		fl.cancel()
		<-fl.done
	}
	return canceled(ctx)
}

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "the work was stopped: %w", context.Cause(ctx))
}
