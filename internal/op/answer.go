package op

import "context"

// Answer is the answer to a client's request that has a key and is not an operation. Whoever changes
// a record stores the answer in the same transaction: a repeated request gets the same answer, even
// after a crash.
type Answer struct {
	Request string                      // the key
	Of      func(v any) ([]byte, error) // encodes the client's answer for the record
	Kept    bool                        // it is recorded; set by whoever has done so
}

type answerKey struct{}

// WithAnswer attaches an answer to a request's context.
func WithAnswer(ctx context.Context, a *Answer) context.Context {
	return context.WithValue(ctx, answerKey{}, a)
}

// AnswerOf returns the answer of a request's context, or nil.
func AnswerOf(ctx context.Context) *Answer {
	a, _ := ctx.Value(answerKey{}).(*Answer)
	return a
}
