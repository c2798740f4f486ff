package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"banger/api"
)

// cancelTime bounds the wait for a cancelled operation.
const cancelTime = 10 * time.Second

// maxBreaks is how often in a row the daemon may end at once after a request before the
// client concludes that the request ends it.
const maxBreaks = 5

// Operations has the requests about work that outlives its request.
type Operations struct{ t *transport }

// List returns the daemon's operations, newest first.
func (o Operations) List(ctx context.Context) ([]api.Operation, error) {
	var list api.OperationList
	err := o.t.get(ctx, "/v1/operations", &list)
	return list.Operations, err
}

// Cancel asks an operation to stop and be undone. It does not wait.
func (o Operations) Cancel(ctx context.Context, id string) error {
	return o.t.do(ctx, http.MethodDelete, at("/v1/operations", id), nil, nil)
}

// Follow waits for the end of an operation, and returns its error. If ctx ends before, the operation is
// cancelled.
func (o Operations) Follow(ctx context.Context, id string, report api.Report) error {
	_, err := o.t.operate(ctx, http.MethodGet, at("/v1/operations", id, "events"), nil, report)
	return err
}

// following is an operation that a client waits for.
type following struct {
	t      *transport
	report api.Report
	last   *api.Operation // as of the newest event; nil before the first
	result *api.Result
	key    string // of the request

	mu     sync.Mutex
	id     string
	wanted bool // the caller has cancelled: cancel as soon as the id is known
}

// operate requests an operation and follows it to its end, through restarts of the daemon.
// If ctx ends, it cancels the operation and waits, for a bounded time, until it is undone.
func (t *transport) operate(ctx context.Context, method, path string, in any, report api.Report) (api.Result, error) {
	if report == nil {
		report = func(api.Progress) {}
	}
	f := &following{t: t, report: report, key: newKey(method)}
	// Events have their own context: they continue while the operation is undone.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var late *time.Timer
	undoing := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(undoing)
		late = time.AfterFunc(cancelTime, stop)
		f.cancel(reading)
	})
	err := f.follow(reading, method, path, in)
	stop()
	if !unhook() {
		<-undoing
		late.Stop()
	}
	switch {
	case err == nil && f.last.Error != nil:
		return api.Result{}, f.last.Error
	case err != nil && ctx.Err() != nil && api.KindOf(err) == api.KindCanceled:
		return api.Result{}, api.Errorf(api.KindCanceled, "cancelled; the daemon did not confirm in time that nothing is left").
			WithHint("banger vm list")
	case err != nil:
		return api.Result{}, api.AsError(err)
	case f.result == nil:
		return api.Result{}, nil
	}
	return *f.result, nil
}

// follow makes the request and reads events until the operation is over. If the daemon ends,
// it asks the next one.
func (f *following) follow(ctx context.Context, method, path string, in any) error {
	var b breaks
	for {
		b.begin()
		resp, err := f.t.send(ctx, method, path, in, f.key)
		if err == nil {
			err = f.read(ctx, resp.Body)
			resp.Body.Close()
		}
		if !isBroken(err) || f.last == nil && f.key == "" || ctx.Err() != nil {
			return err
		}
		if b.tooMany() {
			e := api.Errorf(api.KindInternal, "cannot follow the operation: %w", err)
			if f.t.log == "" {
				return e
			}
			return e.WithHint("cat %s", f.t.log)
		}
		if f.last != nil { // otherwise it is requested again, by its key
			method, path, in, f.key = http.MethodGet, at("/v1/operations", f.last.ID, "events"), nil, ""
		}
	}
}

// breaks counts how often the daemon ends soon after a request.
type breaks struct {
	began time.Time
	count int
}

// soonTime is the time within which a daemon ends that the request has killed.
const soonTime = 100 * time.Millisecond

func (b *breaks) begin() { b.began = time.Now() }

// tooMany counts a daemon that has ended since begin, and reports whether the request is
// by now assumed to be the reason. Restarts for other reasons may be many.
func (b *breaks) tooMany() bool {
	if time.Since(b.began) > soonTime {
		b.count = 0
	}
	b.count++
	return b.count > maxBreaks
}

func isBroken(err error) bool {
	var broken *brokenError
	return errors.As(err, &broken)
}

// read reads one stream of events. It returns nil if the operation is over.
func (f *following) read(ctx context.Context, stream io.Reader) error {
	for events := json.NewDecoder(stream); ; {
		var e api.Event
		if err := events.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return api.Errorf(api.KindCanceled, "cancelled: %w", ctx.Err())
			}
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return &brokenError{err}
		}
		if f.event(ctx, e) {
			return nil
		}
	}
}

// event handles one event and reports whether it is the last.
func (f *following) event(ctx context.Context, e api.Event) bool {
	if e.Progress != nil {
		f.report(*e.Progress)
	}
	if e.Result != nil {
		f.result = e.Result
	}
	if e.Operation == nil {
		return false
	}
	f.last = e.Operation
	f.known(ctx, e.Operation.ID)
	return e.Operation.Status != api.OpRunning
}

// known records the operation's id, and cancels the operation if that was requested before.
func (f *following) known(ctx context.Context, id string) {
	f.mu.Lock()
	first := f.id == ""
	f.id = id
	wanted := f.wanted
	f.mu.Unlock()
	if first && wanted {
		_ = Operations{f.t}.Cancel(ctx, id) // the events report the outcome
	}
}

// cancel cancels the operation, now or as soon as its id is known.
func (f *following) cancel(ctx context.Context) {
	f.mu.Lock()
	f.wanted = true
	id := f.id
	f.mu.Unlock()
	if id != "" {
		_ = Operations{f.t}.Cancel(ctx, id) // the events report the outcome
	}
}
