// Package op runs long work as operations: lists of steps, each with its undo, recorded before the host
// is touched. An operation does not belong to a request: it
// continues when the client disconnects, and after a crash of the daemon the next one
// finishes or undoes it.
package op

import (
	"context"
	"sync"
	"time"

	"banger/api"
)

// Step is one idempotent piece of an operation: doing it again after a crash
// in its middle is always safe.
type Step struct {
	Name string
	Do   func(ctx context.Context, report api.Report) error
	// Undo undoes Do, whether it was completed, interrupted or never begun. Nil if there is
	// nothing to undo.
	Undo func(ctx context.Context) error
	// Stays means that the effect of the step cannot be taken back, and that half of it is of
	// no use: a cancellation in it comes too late.
	Stays bool
	// Waits reports that the step only waits for others: that daemons ended in it says
	// nothing against the plan.
	Waits bool
}

// Plan describes an operation.
type Plan struct {
	Kind   string // such as vm.create
	Target string // what a later daemon needs to build the same plan again
	Steps  []Step
	// Params are its parameters, and Deadline its time limit, for a later daemon.
	Params   string // JSON
	Deadline *time.Time
	// FreesSpace marks work that is done even if it cannot be recorded because
	// the disk is full, because it frees space. If it is interrupted, it has to be requested
	// again.
	FreesSpace bool
	// Before runs before anything is done or undone. Its context ends only with the daemon: a
	// cancelled operation is undone after it, too. If it fails, the operation is left
	// unchanged to the next daemon.
	Before func(ctx context.Context) error
	// Result returns what the operation made. It is called after the last step.
	Result func(o *Op) *api.Result
	// Ended is called when the operation is over and that is recorded, whatever
	// its outcome, before the last event is sent.
	Ended func(o *Op)
}

// tolerates reports whether the plan is executed although recording it failed.
func (p Plan) tolerates(err error) bool {
	return p.FreesSpace && api.KindOf(err) == api.KindNoSpace
}

func (p Plan) before(ctx context.Context) error {
	if p.Before == nil {
		return nil
	}
	return p.Before(ctx)
}

func (p Plan) ended(o *Op) {
	if p.Ended != nil {
		p.Ended(o)
	}
}

// Op is a running or ended operation.
type Op struct {
	id     string
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu      sync.Mutex
	row     api.Operation
	timing  []api.StepTiming
	events  []api.Event
	dropped int           // how many events made room for newer ones
	changed chan struct{} // closed and replaced when events grows
}

func newOp(row api.Operation, cancel context.CancelCauseFunc) *Op {
	return &Op{id: row.ID, cancel: cancel, done: make(chan struct{}), row: row, changed: make(chan struct{})}
}

// ID returns the operation's id.
func (o *Op) ID() string { return o.id }

// Snapshot returns the current state of the operation.
func (o *Op) Snapshot() api.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.row
}

// Timing returns how long each step that has ended took.
func (o *Op) Timing() []api.StepTiming {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]api.StepTiming(nil), o.timing...)
}

// Done is closed when the operation has ended.
func (o *Op) Done() <-chan struct{} { return o.done }

// Wait waits for the end and returns the operation's error, or ctx's.
func (o *Op) Wait(ctx context.Context) error {
	select {
	case <-o.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := o.Snapshot().Error; err != nil {
		return err
	}
	return nil
}

// Follow calls yield with the operation's current state, then with its past and
// future reports, and returns after the last event, when ctx ends, or
// with yield's error. A slow follower misses reports, never the end.
func (o *Op) Follow(ctx context.Context, yield func(api.Event) error) error {
	if row := o.Snapshot(); row.Status == api.OpRunning {
		if err := yield(api.Event{Operation: &row}); err != nil {
			return err
		}
	}
	for next := 0; ; {
		o.mu.Lock()
		pending, changed := o.events[max(0, next-o.dropped):], o.changed
		next = o.dropped + len(o.events)
		o.mu.Unlock()
		for _, e := range pending {
			if err := yield(e); err != nil {
				return err
			}
			if e.Operation != nil {
				return nil
			}
		}
		if len(pending) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-o.done: // the last event may have come at the same time
			if o.Snapshot().Status == api.OpRunning {
				return errStopping // interrupted by the daemon's own end
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// maxEvents bounds the recorded reports of an operation: the oldest are dropped.
const maxEvents = 256

func (o *Op) emit(e api.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	if len(o.events) > maxEvents {
		// A copy: followers may still read the old array.
		o.events = append([]api.Event(nil), o.events[maxEvents/2:]...)
		o.dropped += maxEvents / 2
	}
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *Op) report(p api.Progress) { o.emit(api.Event{Progress: &p}) }

func (o *Op) enter(step string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.row.Step = step
}

func (o *Op) took(step string, d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timing = append(o.timing, api.StepTiming{Step: step, Milliseconds: float64(d.Microseconds()) / 1000})
}

// end sends the last event and closes Done.
func (o *Op) end(last api.Event) {
	o.mu.Lock()
	o.row = *last.Operation
	o.mu.Unlock()
	o.emit(last)
	close(o.done)
}
