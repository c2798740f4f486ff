package image

import (
	"context"
	"sync"

	"banger/api"
)

// flights run each piece of work once for all who ask for it at the same time.
type flights struct {
	mu  sync.Mutex
	all map[string]*flight
}

type flight struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed at the end
	err     error
	waiting map[*api.Report]struct{}
	last    *api.Progress
}

// do runs work, or joins it where it runs. The work is canceled when the last
// who waits for it gives up; that one returns when it has cleaned up.
func (f *flights) do(ctx context.Context, key string, report api.Report, work func(context.Context, api.Report) error) error {
	for {
		f.mu.Lock()
		fl := f.all[key]
		if fl == nil {
			fl = f.start(ctx, key, work)
		} else if len(fl.waiting) == 0 { // given up: wait for its end and start anew
			f.mu.Unlock()
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
		f.mu.Unlock()
		return f.wait(ctx, fl, &report)
	}
}

// start starts work. The caller holds mu.
func (f *flights) start(ctx context.Context, key string, work func(context.Context, api.Report) error) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl := &flight{cancel: cancel, done: make(chan struct{}), waiting: map[*api.Report]struct{}{}}
	f.all[key] = fl
	go func() {
		err := work(ctx, func(p api.Progress) { f.tell(fl, p) })
		f.mu.Lock()
		fl.err = err
		delete(f.all, key)
		f.mu.Unlock()
		cancel()
		close(fl.done)
	}()
	return fl
}

func (f *flights) tell(fl *flight, p api.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.last = &p
	for report := range fl.waiting {
		(*report)(p)
	}
}

func (f *flights) wait(ctx context.Context, fl *flight, report *api.Report) error {
	select {
	case <-fl.done:
		return fl.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	delete(fl.waiting, report)
	last := len(fl.waiting) == 0
	f.mu.Unlock()
	if last {
		fl.cancel()
		<-fl.done
	}
	return canceled(ctx)
}

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "the work on the image was stopped: %w", context.Cause(ctx))
}
