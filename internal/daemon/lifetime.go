package daemon

import (
	"context"
	"errors"
	"sync"
)

// errStopping ends requests that would last as long as their client wants. Such a
// request's connection is cut without an end of the answer, as a crash would
// cut it: clients that survive a crash survive this, too.
var errStopping = errors.New("the daemon is stopping")

// lifetime ends in two steps: first the requests that would last as long as their client wants,
// then the streams.
type lifetime struct {
	stopping context.Context // ends when the daemon starts to stop
	cancel   context.CancelCauseFunc
	cut      context.Context // ends when streams have to end; after stopping
	cutNow   context.CancelFunc
	streams  sync.WaitGroup // hijacked connections
}

func newLifetime() *lifetime {
	l := &lifetime{}
	l.stopping, l.cancel = context.WithCancelCause(context.Background())
	l.cut, l.cutNow = context.WithCancel(context.Background())
	return l
}

// stop takes the first step.
func (l *lifetime) stop() { l.cancel(errStopping) }

// untilStop returns a context that ends with ctx or when the daemon stops.
func (l *lifetime) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(l.stopping, func() { cancel(errStopping) })
	return ctx, func() { unlink(); cancel(nil) }
}
