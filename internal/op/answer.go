package op

import "context"

// Answer is of a client's request that has a key and is no operation. Who changes what is
// recorded records the answer in the same transaction: asked again, a client is told what
// is, also after a crash.
type Answer struct {
	Request string                      // the key
	Of      func(v any) ([]byte, error) // makes what is recorded of what the client is told
	Kept    bool                        // it is recorded; set by whoever has done so
}

type answerKey struct{}

// WithAnswer attaches an answer to a request's context.
func WithAnswer(ctx context.Context, a *Answer) context.Context {
	return context.WithValue(ctx, answerKey{}, a)
}

// AnswerOf returns the answer of a request's context, nil for none.
func AnswerOf(ctx context.Context) *Answer {
	a, _ := ctx.Value(answerKey{}).(*Answer)
	return a
}
