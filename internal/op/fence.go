package op

import (
	"context"

	"banger/api"
)

// Settled reports whether the outcome of an operation is final. It is recorded with the change of
// the object itself, so that it is known even if the end is not.
type Settled int

// The ways in which an operation can be settled. The numbers are in the store.
const (
	Unsettled     Settled = iota
	SettledDone           // what it was for is done
	SettledFailed         // it has failed, and what is left of it is to stay
)

// Unfinished is an operation whose end an earlier daemon did not record.
type Unfinished struct {
	api.Operation
	Undoing  bool // it was being undone
	Attempts int  // how often a daemon has taken it up
	Settled  Settled
	// Superseded reports that a later operation on the same object has begun: this one was
	// over by then, and nothing of it may be done or undone.
	Superseded bool
}

type (
	opKey      struct{}
	requestKey struct{}
)

// FromContext returns the operation whose step runs with ctx, nil outside of steps.
func FromContext(ctx context.Context) *Op {
	o, _ := ctx.Value(opKey{}).(*Op)
	return o
}

// WithRequest attaches the key of a client's request to a context for Start.
func WithRequest(ctx context.Context, request string) context.Context {
	return context.WithValue(ctx, requestKey{}, request)
}

func requestOf(ctx context.Context) string {
	request, _ := ctx.Value(requestKey{}).(string)
	return request
}

// Ends reports whether operations of a kind only end a VM: repeating one does no further harm.
func Ends(kind string) bool {
	return kind == "vm.stop" || kind == "vm.kill" || kind == "vm.delete"
}
