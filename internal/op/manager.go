package op

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/faultpoint"
)

// Log records operations. Begin and End are durable when they return; Enter survives a crash of the
// daemon, but not of the host.
type Log interface {
	BeginOperation(ctx context.Context, row api.Operation) error
	EnterStep(ctx context.Context, id, step string, undoing bool) error
	// PutBack reverts the count of this daemon's attempt to resume an operation.
	PutBack(ctx context.Context, id string) error
	// EndOperation records the last event, for clients that were cut off before it.
	EndOperation(ctx context.Context, last api.Event) error
	// EndedOperation returns the last event of an operation that ended a short
	// time ago, or nil.
	EndedOperation(ctx context.Context, id string) (*api.Event, error)
	// EndedOperations returns the ids of those that begin with digits.
	EndedOperations(ctx context.Context, digits string) ([]string, error)
	// RequestedOperation is EndedOperation by the key that the client sent.
	RequestedOperation(ctx context.Context, request string) (*api.Event, error)
}

// undoTime bounds the undo of an operation: it has its own context, so that cancelling an operation
// does not cancel its undo.
const undoTime = 2 * time.Minute

// endAttempts is how often daemons resume an operation that ends or removes something: if more
// daemons are killed during it, the operation is assumed to be the reason.
const endAttempts = 10

// keepEnded is how many ended operations stay in memory for clients that reconnect.
const keepEnded = 100

// errAborted is the cause of the end of an operation that its user cancelled.
var errAborted = errors.New("cancelled by the user")

// errOvertaken is the cause of the end of an operation that another on its object has ended.
var errOvertaken = errors.New("overtaken")

// errKeep marks the error of a step after which earlier steps are not undone.
var errKeep = errors.New("kept")

// Keep returns err marked so that the steps before it are not undone. As the error of
// an undo it says what stays: the operation's caller gets that error.
func Keep(err error) error { return &keptError{err} }

type keptError struct{ error }

func (e *keptError) Unwrap() []error { return []error{e.error, errKeep} }

// Manager runs operations.
type Manager struct {
	log    Log
	logger *slog.Logger
	ctx    context.Context
	stop   context.CancelCauseFunc
	wg     sync.WaitGroup

	gate func(kind string) error

	mu  sync.Mutex // held over no call of log's
	ops []*Op      // oldest first
}

// NewManager returns a manager that records in log.
func NewManager(log Log, logger *slog.Logger) *Manager {
	ctx, stop := context.WithCancelCause(context.Background())
	return &Manager{log: log, logger: logger, ctx: ctx, stop: stop, gate: func(string) error { return nil }}
}

// Gate makes the manager call may before an operation begins: an error refuses the operation.
// Operations of an earlier daemon are resumed without it. Call Gate before the first operation.
func (m *Manager) Gate(may func(kind string) error) { m.gate = may }

// errStopping is the cause of the end of operations that the end of the daemon interrupts: they are
// neither finished nor undone, and the next daemon resumes them.
var errStopping = errors.New("the daemon is stopping")

// Close interrupts running operations, without undoing them, and waits for them.
func (m *Manager) Close() {
	m.stop(errStopping)
	m.wg.Wait()
}

// NewID returns a new random id: 12 hexadecimal digits.
func NewID() string {
	var b [6]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Start records plan and runs it in the background. ctx bounds only the recording, and carries the
// client's key, if any (WithRequest).
func (m *Manager) Start(ctx context.Context, plan Plan) (*Op, error) {
	row := api.Operation{
		ID: NewID(), Kind: plan.Kind, Target: plan.Target, Params: plan.Params, Deadline: plan.Deadline, Request: requestOf(ctx),
		Step: plan.Steps[0].Name, Status: api.OpRunning, StartedAt: time.Now(),
	}
	o, begin, err := m.enlist(plan, row, 0, nil, m.gate)
	if err == nil {
		if err = m.log.BeginOperation(ctx, row); err != nil && !plan.tolerates(err) {
			m.drop(o)
			o.cancel(err)
			close(o.done)
		} else {
			err = nil
		}
	}
	if err != nil {
		plan.ended(newOp(row, nil)) // without the lock: it may begin another
		return nil, err
	}
	begin()
	return o, nil
}

// Resume resumes an operation of an earlier daemon: it finishes the operation from its current step,
// or undoes it if the undo had begun, or if it was resumed at that step before. An operation that ends
// or removes something cannot be undone, and is resumed endAttempts times. An operation that was
// interrupted in a step that only waits continues to wait.
func (m *Manager) Resume(plan Plan, left Unfinished) *Op {
	at := max(0, slices.IndexFunc(plan.Steps, func(s Step) bool { return s.Name == left.Step }))
	attempts := 1
	if plan.FreesSpace {
		attempts = endAttempts
	}
	var why error // it is undone
	switch {
	case left.Undoing:
		why = api.Errorf(api.KindInternal, "%s did not succeed, and was being undone when banger was restarted; the daemon's log says why", api.ActionOf(plan.Kind)).WithHint("try again")
	case left.Attempts > attempts && !plan.Steps[at].Waits:
		why = api.Errorf(api.KindInternal, "%s was interrupted by restarts of banger, twice at the same step", api.ActionOf(plan.Kind)).WithHint("try again")
	}
	o, begin, _ := m.enlist(plan, left.Operation, at, why, nil)
	begin()
	return o
}

// Conclude ends an operation of an earlier daemon whose outcome is final: nothing is done or undone, and err is the client's error.
func (m *Manager) Conclude(plan Plan, left Unfinished, err error) *Op {
	o := newOp(left.Operation, func(error) {})
	_ = m.list(o, nil)
	m.wg.Go(func() { m.finish(m.ctx, o, plan, err) })
	return o
}

// enlist puts an operation that the gate lets through in the list, and returns what
// begins it, or its undoing if undo says why. Both are one: who shuts the gate and then lists
// misses none.
func (m *Manager) enlist(plan Plan, row api.Operation, at int, undo error, gate func(string) error) (o *Op, begin func(), err error) {
	ctx, cancel := context.WithCancelCause(m.ctx)
	o = newOp(row, cancel)
	ctx = context.WithValue(ctx, opKey{}, o)
	if err := m.list(o, gate); err != nil {
		cancel(err)
		return nil, nil, err
	}
	return o, func() {
		m.wg.Go(func() {
			defer cancel(nil)
			m.run(ctx, o, plan, at, undo)
		})
	}, nil
}

func (m *Manager) list(o *Op, gate func(string) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if gate != nil {
		if err := gate(o.row.Kind); err != nil {
			return err
		}
	}
	m.ops = append(m.ops, o)
	m.forget()
	return nil
}

func (m *Manager) drop(o *Op) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops = slices.DeleteFunc(m.ops, func(other *Op) bool { return other == o })
}

// forget drops the oldest ended operations beyond keepEnded.
func (m *Manager) forget() {
	for i := 0; len(m.ops) > keepEnded && i < len(m.ops); {
		select {
		case <-m.ops[i].done:
			m.ops = slices.Delete(m.ops, i, i+1)
		default:
			i++
		}
	}
}

func (m *Manager) run(ctx context.Context, o *Op, plan Plan, at int, undo error) {
	if err := plan.before(m.ctx); err != nil {
		if err := m.log.PutBack(context.WithoutCancel(ctx), o.ID()); err != nil {
			m.logger.Error("cannot put an operation back", "operation", o.ID(), "error", err)
		}
		m.leave(o, plan)
		return
	}
	err := undo
	if err == nil {
		at, err = m.do(ctx, o, plan, at)
	}
	if at < len(plan.Steps) {
		ctx = m.within(ctx, o, plan.Steps[at])
	}
	if err != nil && !errors.Is(err, errKeep) && errors.Is(context.Cause(ctx), errStopping) {
		m.leave(o, plan)
		return
	}
	if err != nil && !errors.Is(err, errKeep) {
		m.logger.Info("undoing an operation", "operation", o.ID(), "kind", plan.Kind, "target", plan.Target, "step", o.Snapshot().Step, "error", err)
		err = undone(ctx, plan.Kind, err, m.undo(o, plan, at))
	}
	m.finish(ctx, o, plan, err)
}

// within returns the context of a step: its operation's, unless the step Stays.
func (m *Manager) within(ctx context.Context, o *Op, step Step) context.Context {
	if step.Stays {
		return context.WithValue(m.ctx, opKey{}, o)
	}
	return ctx
}

// undone returns the error of an operation that err ended and that was undone, except for the
// part that kept describes.
func undone(ctx context.Context, kind string, err, kept error) error {
	aborted := errors.Is(context.Cause(ctx), errAborted)
	if cause := context.Cause(ctx); errors.Is(cause, errOvertaken) {
		err = api.Errorf(api.KindCanceled, "%s was %w", api.ActionOf(kind), cause)
	}
	switch {
	case aborted && kept == nil:
		return api.Errorf(api.KindCanceled, "%s was cancelled; nothing is left of it", api.ActionOf(kind))
	case aborted:
		return api.Errorf(api.KindCanceled, "%s was cancelled; %w", api.ActionOf(kind), kept)
	case kept != nil:
		return api.Errorf(api.KindOf(err), "%v; %w", err, kept)
	}
	return err
}

// leave leaves an operation to the next daemon.
func (m *Manager) leave(o *Op, plan Plan) {
	m.logger.Info("operation interrupted, the next daemon takes it up", "operation", o.ID(), "kind", plan.Kind)
	plan.ended(o)
	close(o.done)
}

// do runs the steps from at on and returns the step it ended in.
func (m *Manager) do(ofOp context.Context, o *Op, plan Plan, at int) (int, error) {
	for ; at < len(plan.Steps); at++ {
		step := plan.Steps[at]
		ctx := m.within(ofOp, o, step)
		if err := context.Cause(ctx); err != nil {
			return at, err
		}
		if step.Name != o.Snapshot().Step {
			if err := m.log.EnterStep(ctx, o.ID(), step.Name, false); err != nil && !plan.tolerates(err) {
				return at, err
			}
			o.enter(step.Name)
		}
		began := time.Now()
		faultpoint.Reach(plan.Kind, step.Name, "before")
		if err := step.Do(ctx, o.report); err != nil {
			return at, err
		}
		faultpoint.Reach(plan.Kind, step.Name, "after")
		o.took(step.Name, time.Since(began))
	}
	return at, nil
}

// undo undoes the steps from at down to the first. A failure does not stop the others. It returns what
// was kept.
func (m *Manager) undo(o *Op, plan Plan, at int) (kept error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), undoTime)
	defer cancel()
	for i := min(at, len(plan.Steps)-1); i >= 0; i-- {
		step := plan.Steps[i]
		if step.Undo == nil {
			continue
		}
		err := m.log.EnterStep(ctx, o.ID(), step.Name, true)
		faultpoint.Reach(plan.Kind, step.Name, "undo")
		if err = errors.Join(err, step.Undo(ctx)); err != nil {
			m.logger.Error("cannot undo step", "operation", o.ID(), "kind", plan.Kind, "step", step.Name, "error", err)
		}
		if errors.Is(err, errKeep) {
			kept = err
		}
	}
	return kept
}

func (m *Manager) finish(ctx context.Context, o *Op, plan Plan, err error) {
	ctx = context.WithoutCancel(ctx)
	status := api.OpDone
	if err != nil {
		status = api.OpFailed
		m.logger.Warn("operation failed", "operation", o.ID(), "kind", plan.Kind, "target", plan.Target, "step", o.Snapshot().Step, "error", err)
	}
	row, now := o.Snapshot(), time.Now()
	row.Status, row.Error, row.FinishedAt = status, api.AsError(err), &now
	last := api.Event{Operation: &row}
	if err == nil && plan.Result != nil {
		last.Result = plan.Result(o)
	}
	if err := m.log.EndOperation(ctx, last); err != nil {
		m.logger.Error("cannot record the end of an operation yet; trying on", "operation", o.ID(), "error", err)
		m.wg.Go(func() { m.recordEnd(ctx, last) })
	}
	plan.ended(o)
	o.end(last)
}

// The pauses between tries to record an end grow from the first to the last.
const (
	minEndPause = 100 * time.Millisecond
	maxEndPause = 30 * time.Second
)

// recordEnd retries to record the end of an operation. The outcome is final even if that fails: the
// next daemon determines it.
func (m *Manager) recordEnd(ctx context.Context, last api.Event) {
	for pause := minEndPause; ; pause = min(2*pause, maxEndPause) {
		closing := false
		select {
		case <-time.After(pause):
		case <-m.ctx.Done():
			closing = true
		}
		err := m.log.EndOperation(ctx, last)
		if err == nil || closing {
			m.logger.Info("recorded the end of an operation at last", "operation", last.Operation.ID, "error", err)
			return
		}
	}
}

// Cancel asks an operation to stop and be undone. It does not wait.
func (m *Manager) Cancel(id string) error {
	o, err := m.Get(id)
	if err != nil {
		return err
	}
	o.cancel(errAborted)
	return nil
}

// Overtake stops and undoes an operation because another one, of the kind by, is to do the
// contrary. It does not wait.
func (m *Manager) Overtake(o *Op, by string) {
	o.cancel(fmt.Errorf("%w by a request to %s it", errOvertaken, api.ActionOf(by).Verb))
}
