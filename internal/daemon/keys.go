package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"sync"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/op"
)

var goodKey = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// keys serializes requests with the same key.
type keys struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// take waits until no request has the key, and takes it.
func (k *keys) take(ctx context.Context, key string) (give func(), err error) {
	for {
		k.mu.Lock()
		other := k.held[key]
		if other == nil {
			if k.held == nil {
				k.held = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			k.held[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				defer k.mu.Unlock()
				delete(k.held, key)
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// keyed answers requests with a key: what they ask for happens once.
type keyed struct {
	*core
	keys keys
}

// once is handle for requests with a key.
func (k *keyed) once(handle handler, w http.ResponseWriter, r *http.Request) error {
	key := r.Header.Get(api.KeyHeader)
	if key == "" || r.Method == http.MethodGet || r.Header.Get("Upgrade") != "" {
		return handle(w, r)
	}
	if !goodKey.MatchString(key) {
		return api.Errorf(api.KindInvalid, "%s %.80q is not a valid key: want 8 to 64 letters, digits, - and _", api.KeyHeader, key)
	}
	give, err := k.keys.take(r.Context(), key)
	if err != nil {
		return err
	}
	var once sync.Once
	defer once.Do(give)
	if o, err := k.requested(key); o != nil || err != nil {
		return k.follow(w, r, o, err)
	}
	known, err := k.known(r, key)
	if err != nil {
		return err
	}
	if known.Status != 0 {
		known.write(w)
		return nil
	}
	reply := &op.Answer{Request: key, Of: func(v any) ([]byte, error) { return keptAnswer(r, v) }}
	ctx := op.WithAnswer(op.WithRequest(r.Context(), key), reply)
	ctx = context.WithValue(ctx, begunKey{}, known.Begun)
	ctx = context.WithValue(ctx, recordedKey{}, func() { once.Do(give) })
	out := &recorder{ResponseWriter: w}
	faultpoint.Reach(r.Pattern, "before")
	err = handle(out, r.WithContext(ctx))
	if err == nil && out.kept {
		faultpoint.Reach(r.Pattern, "after")
		if !reply.Kept {
			k.keepAnswer(r.Context(), key, out.answer)
		}
		faultpoint.Reach(r.Pattern, "kept")
	}
	return err
}

// recordedKey is the context's key of the function that is called once an operation is recorded: from
// then on its request's key leads to it.
type recordedKey struct{}

func recorded(ctx context.Context) {
	if give, ok := ctx.Value(recordedKey{}).(func()); ok {
		give()
	}
}

// requested returns the operation that a request with the key has begun, or nil.
func (k *keyed) requested(key string) (*op.Op, error) {
	known, ok := k.svc.Operations.(interface {
		Requested(request string) (*op.Op, error)
	})
	if !ok {
		return nil, nil
	}
	return known.Requested(key)
}

// storedAnswer is a recorded answer.
type storedAnswer struct {
	Route  string `json:"route"`
	Status int    `json:"status"` // 0: not answered yet
	Body   []byte `json:"body,omitempty"`
	Begun  string `json:"begun,omitempty"` // digest of what is being deleted
}

func route(r *http.Request) string { return r.Method + " " + r.URL.Path }

// keptAnswer encodes the answer v to a change for the record; v is nil for an answer without content.
func keptAnswer(r *http.Request, v any) ([]byte, error) {
	k := storedAnswer{Route: route(r), Status: http.StatusNoContent}
	if v != nil {
		var body bytes.Buffer
		if err := json.NewEncoder(&body).Encode(v); err != nil {
			return nil, err
		}
		k.Status, k.Body = http.StatusOK, body.Bytes()
	}
	return json.Marshal(k)
}

func (k storedAnswer) write(w http.ResponseWriter) {
	if len(k.Body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(k.Status)
	_, _ = w.Write(k.Body)
}

// known returns the recorded answer to an earlier request with the key.
func (k *keyed) known(r *http.Request, key string) (a storedAnswer, err error) {
	if k.svc.Answers == nil {
		return a, nil
	}
	data, err := k.svc.Answers.Answer(r.Context(), key)
	if err != nil || data == nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, err
	}
	if a.Route != route(r) {
		return a, api.Errorf(api.KindInvalid, "%s %q was used for another request", api.KeyHeader, key)
	}
	return a, nil
}

// keepAnswer records the answer to a finished or begun change. If that fails, a repeated request may
// get another answer, but no effect happens twice.
func (k *keyed) keepAnswer(ctx context.Context, key string, data []byte) {
	if k.svc.Answers == nil {
		return
	}
	if err := k.svc.Answers.PutAnswer(context.WithoutCancel(ctx), key, data); err != nil {
		k.log.Warn("cannot keep an answer", "error", err)
	}
}

// begunKey is the context's key of the digest that an earlier request with the same key has begun to
// delete.
type begunKey struct{}

// deleted deletes the object that ref means, and records its digest first. If the request is repeated
// after a crash, and the first one has removed the name, the client gets a success, not an error that
// the object does not exist, and the rest of the object is removed.
func (k *keyed) deleted(w http.ResponseWriter, r *http.Request, ref string, find func(ref string) (digest string, names []string, err error), remove func(ref string) error) error {
	begun, _ := r.Context().Value(begunKey{}).(string)
	digest, _, missing := find(ref)
	if begun == "" || missing == nil && digest == begun {
		if a := op.AnswerOf(r.Context()); a != nil && begun == "" && missing == nil {
			if data, err := json.Marshal(storedAnswer{Route: route(r), Begun: digest}); err == nil {
				k.keepAnswer(r.Context(), a.Request, data)
			}
		}
		return changed(w, r, nil, remove(ref))
	}
	if _, names, err := find(begun); err == nil && len(names) == 0 {
		return changed(w, r, nil, remove(begun))
	}
	return changed(w, r, nil, nil)
}

// recorder records an answer of one value while it sends it.
type recorder struct {
	http.ResponseWriter
	kept   bool   // there is an answer to record
	answer []byte // encoded for the record
}

// Unwrap lets http.ResponseController flush.
func (o *recorder) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// changed is answer for a change that is not an operation: it is kept for repeated requests.
func changed(w http.ResponseWriter, r *http.Request, v any, err error) error {
	if err != nil {
		return err
	}
	if o, ok := w.(*recorder); ok {
		o.answer, err = keptAnswer(r, v)
		o.kept = err == nil
	}
	if v == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return answer(w, v, nil)
}
