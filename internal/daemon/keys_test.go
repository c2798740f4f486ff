package daemon

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"banger/api"
)

// notes keep answers in memory.
type notes struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (n *notes) Answer(_ context.Context, request string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[request], nil
}

func (n *notes) PutAnswer(_ context.Context, request string, answer []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all[request] = answer
	return nil
}

// newKeyedRig is newRig with something that keeps answers.
func newKeyedRig(t *testing.T, kept *notes) *rig {
	r := newRigOf(t, func(p Program) Program {
		build := p.Build
		p.Build = func(ctx context.Context, env Env) (*Services, error) {
			svc, err := build(ctx, env)
			svc.Answers = kept
			return svc, err
		}
		return p
	})
	return r
}

// TestAskedAgainWithAKey: what is asked for with one key is done once, and answered each
// time.
func TestAskedAgainWithAKey(t *testing.T) {
	r := newKeyedRig(t, &notes{all: map[string][]byte{}})
	var bodies []string
	for range 3 {
		status, body := r.do("POST", "/v1/vms", `{"name":"fox"}`, api.KeyHeader, "key-of-a-creation")
		if status != 200 {
			t.Fatal(status, body)
		}
		all := events(t, strings.NewReader(body))
		bodies = append(bodies, all[len(all)-1].Operation.ID)
	}
	if bodies[0] != bodies[1] || bodies[1] != bodies[2] || len(r.fake.work.asked) != 1 {
		t.Errorf("operations %v, asked %d times", bodies, len(r.fake.work.asked))
	}
	if _, body := r.do("POST", "/v1/vms", `{"name":"fox"}`, api.KeyHeader, "key-of-another"); strings.Contains(body, bodies[0]) {
		t.Error("another key leads to the same operation")
	}
	r.fails(400, api.KindInvalid, "POST", "/v1/vms", "", api.KeyHeader, "no key")
}

// TestChangesAskedAgainWithAKey: so is a change that is no operation, also by the next
// daemon.
func TestChangesAskedAgainWithAKey(t *testing.T) {
	kept := &notes{all: map[string][]byte{}}
	first := newKeyedRig(t, kept)
	_, want := first.do("POST", "/v1/vms/fox/rename", `{"name":"vixen"}`, api.KeyHeader, "key-of-a-rename")
	if status, _ := first.do("DELETE", "/v1/images/old", "", api.KeyHeader, "key-of-a-deletion"); status != 204 {
		t.Error(status)
	}
	next := newKeyedRig(t, kept)
	// Were it done again, the name would be another.
	if status, got := next.do("POST", "/v1/vms/fox/rename", `{"name":"other"}`, api.KeyHeader, "key-of-a-rename"); status != 200 || got != want || !strings.Contains(got, "vixen") {
		t.Errorf("%d %s", status, got)
	}
	if status, _ := next.do("DELETE", "/v1/images/old", "", api.KeyHeader, "key-of-a-deletion"); status != 204 {
		t.Error(status)
	}
	next.fails(400, api.KindInvalid, "DELETE", "/v1/images/other", "", api.KeyHeader, "key-of-a-deletion")
	// A refusal is no answer to keep: what is wrong may pass.
	for range 2 {
		next.fails(404, api.KindNotFound, "POST", "/v1/vms/wolf/rename", `{"name":"x"}`, api.KeyHeader, "key-of-a-refusal")
	}
	if len(kept.all) != 2 {
		t.Errorf("%d answers are kept", len(kept.all))
	}
}

// TestKeysExclude: two requests with the same key at once are one.
func TestKeysExclude(t *testing.T) {
	r := newKeyedRig(t, &notes{all: map[string][]byte{}})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if status, body := r.do("POST", "/v1/vms/fox/start", "", api.KeyHeader, "key-of-a-start"); status != 200 {
				t.Error(status, body)
			}
		})
	}
	all.Wait()
	if len(r.fake.work.asked) != 1 {
		t.Errorf("it was asked for %d times", len(r.fake.work.asked))
	}
}

// TestDeletedAndNotTold: a deletion whose answer was lost with the daemon is done for who asks
// again with its key, and for nobody else; what was left of it goes.
func TestDeletedAndNotTold(t *testing.T) {
	kept := &notes{all: map[string][]byte{}}
	var removed []string
	there := map[string][]string{"sha256:1": {"app"}} // names by digest
	find := func(ref string) (string, []string, error) {
		for digest, names := range there {
			if ref == digest || len(names) > 0 && ref == names[0] {
				return digest, names, nil
			}
		}
		return "", nil, api.Errorf(api.KindNotFound, "no image named %q", ref)
	}
	k := &keyed{core: &core{svc: &Services{Answers: kept}, log: slog.New(slog.DiscardHandler)}}
	ask := func(key string, die bool) (status int, err error) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("DELETE", "/v1/images/app", nil)
		r.Header.Set(api.KeyHeader, key)
		err = k.once(func(w http.ResponseWriter, r *http.Request) error {
			return k.deleted(w, r, "app", find, func(ref string) error {
				if _, _, err := find(ref); err != nil {
					return err
				}
				removed = append(removed, ref)
				if there["sha256:1"] = nil; die { // the name is gone
					panic(http.ErrAbortHandler)
				}
				delete(there, "sha256:1")
				return nil
			})
		}, w, r)
		return w.Code, err
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = ask("key-of-the-first", true)
	}()
	if _, err := ask("key-of-another", false); api.KindOf(err) != api.KindNotFound {
		t.Errorf("another client: %v", err)
	}
	for range 2 {
		if status, err := ask("key-of-the-first", false); status != 204 || err != nil {
			t.Errorf("asked again: %d, %v", status, err)
		}
	}
	if len(there) != 0 || !slices.Equal(removed, []string{"app", "sha256:1"}) {
		t.Errorf("removed %v, left %v", removed, there)
	}
}
