package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"sync"

	"banger/api"
	"banger/internal/op"
)

// keyHeader carries a key that a client has made for a request which changes something.
// What is asked for with one key is done once: asked again, a client that lost the answer
// gets that of the first time.
const keyHeader = "Idempotency-Key"

var goodKey = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// keys sees that two requests with the same key come one after the other.
type keys struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// take waits until nobody has the key, and takes it.
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

// once is handle for requests with a key.
func (s *Server) once(handle handler, w http.ResponseWriter, r *http.Request) error {
	key := r.Header.Get(keyHeader)
	if key == "" || r.Method == http.MethodGet || r.Header.Get("Upgrade") != "" {
		return handle(s, w, r)
	}
	if !goodKey.MatchString(key) {
		return api.Errorf(api.KindInvalid, "%s %.80q is not a valid key: want 8 to 64 letters, digits, - and _", keyHeader, key)
	}
	give, err := s.keys.take(r.Context(), key)
	if err != nil {
		return err
	}
	var once sync.Once
	defer once.Do(give)
	if o, err := s.requested(key); o != nil || err != nil {
		return s.follow(w, r, o, err)
	}
	if done, err := s.answered(w, r, key); done || err != nil {
		return err
	}
	ctx := op.WithRequest(r.Context(), key)
	ctx = context.WithValue(ctx, recordedKey{}, func() { once.Do(give) })
	out := &recorder{ResponseWriter: w}
	err = handle(s, out, r.WithContext(ctx))
	if err == nil && out.kept {
		s.keepAnswer(r.Context(), key, out)
	}
	return err
}

// recordedKey is the context's key of what is called once an operation is recorded: from
// then on its key leads to it.
type recordedKey struct{}

func recorded(ctx context.Context) {
	if give, ok := ctx.Value(recordedKey{}).(func()); ok {
		give()
	}
}

// requested returns the operation that a key has begun, nil for none.
func (s *Server) requested(key string) (*op.Op, error) {
	known, ok := s.svc.Operations.(interface {
		Requested(request string) (*op.Op, error)
	})
	if !ok {
		return nil, nil
	}
	return known.Requested(key)
}

// kept is an answer as it is kept.
type kept struct {
	Route  string `json:"route"`
	Status int    `json:"status"`
	Body   []byte `json:"body,omitempty"`
}

func route(r *http.Request) string { return r.Method + " " + r.URL.Path }

// answered gives the answer again that a request with the key was given.
func (s *Server) answered(w http.ResponseWriter, r *http.Request, key string) (bool, error) {
	if s.svc.Answers == nil {
		return false, nil
	}
	data, err := s.svc.Answers.Answer(r.Context(), key)
	if err != nil || data == nil {
		return false, err
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return false, err
	}
	if k.Route != route(r) {
		return false, api.Errorf(api.KindInvalid, "%s %q was used for another request", keyHeader, key)
	}
	if len(k.Body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(k.Status)
	_, _ = w.Write(k.Body)
	return true, nil
}

// keepAnswer keeps the answer to what was done. Where that fails the client that asks
// again may be told otherwise: nothing is done twice that has an effect twice.
func (s *Server) keepAnswer(ctx context.Context, key string, out *recorder) {
	if s.svc.Answers == nil {
		return
	}
	data, err := json.Marshal(kept{Route: out.route, Status: out.status, Body: out.body.Bytes()})
	if err == nil {
		err = s.svc.Answers.PutAnswer(context.WithoutCancel(ctx), key, data)
	}
	if err != nil {
		s.log.Warn("cannot keep an answer", "error", err)
	}
}

// recorder keeps an answer of one value, which it sends on.
type recorder struct {
	http.ResponseWriter
	kept   bool // there is something to keep
	route  string
	status int
	body   bytes.Buffer
}

// Unwrap lets http.ResponseController flush.
func (o *recorder) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// changed is answer for a change that is no operation: it is kept for who asks again.
func changed(w http.ResponseWriter, r *http.Request, v any, err error) error {
	if err != nil {
		return err
	}
	if o, ok := w.(*recorder); ok {
		o.kept, o.route, o.status = true, route(r), http.StatusNoContent
		if v != nil {
			o.status = http.StatusOK
			_ = json.NewEncoder(&o.body).Encode(v)
		}
	}
	if v == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return answer(w, v, nil)
}
