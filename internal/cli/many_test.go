package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/daemonstart"
	"banger/internal/paths"
)

// crowd is what asks at the same time: each waits until as many as are to be there are.
type crowd struct {
	mu        sync.Mutex
	now, most int
	want      int
	all       chan struct{}
}

func newCrowd(want int) *crowd { return &crowd{want: want, all: make(chan struct{})} }

// come tells whether as many came at the same time.
func (c *crowd) come() bool {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	if c.now == c.want {
		c.want = 0
		close(c.all)
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now--
	}()
	select {
	case <-c.all:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// many are n running VMs.
func many(n int) []api.VM {
	vms := make([]api.VM, n)
	for i := range vms {
		vms[i] = vm(fmt.Sprintf("vm%02d", i), api.StateRunning)
		vms[i].ID = fmt.Sprintf("%012x", i)
	}
	return vms
}

// TestGuestsAreAskedSideBySide for their sessions, no more than the bound at the same time,
// and shown in order.
func TestGuestsAreAskedSideBySide(t *testing.T) {
	w, asking := newFixture(t), newCrowd(guestsAtOnce)
	w.HandleFunc("GET /v1/vms", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, api.VMList{VMs: many(guestsAtOnce + 8)})
	})
	w.HandleFunc("GET /v1/vms/{vm}/sessions", func(rw http.ResponseWriter, r *http.Request) {
		if !asking.come() {
			fail(rw, api.Errorf(api.KindTimeout, "it was asked alone"))
			return
		}
		answer(rw, api.SessionList{Sessions: []api.Session{{ID: "s" + r.PathValue("vm"), Kind: "exec", StartedAt: then}}})
	})
	stdout, stderr, status := run("vm", "sessions", "-q")
	var want strings.Builder
	for i := range guestsAtOnce + 8 {
		fmt.Fprintf(&want, "s%012x\n", i)
	}
	if stdout != want.String() || stderr != "" || status != 0 || asking.most > guestsAtOnce {
		t.Errorf("%d at the same time, status %d, %s\n%s", asking.most, status, stderr, stdout)
	}
}

// TestGuestsThatHangAreWaitedForOnce: all of them within one time, and what the others say
// is there.
func TestGuestsThatHangAreWaitedForOnce(t *testing.T) {
	w, vms := newFixture(t), many(3*guestsAtOnce)
	w.HandleFunc("GET /v1/vms/{vm}/sessions", func(rw http.ResponseWriter, r *http.Request) {
		if r.PathValue("vm") != vms[1].ID {
			<-r.Context().Done()
			return
		}
		answer(rw, api.SessionList{Sessions: []api.Session{{ID: "1"}}})
	})
	p, err := paths.User()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	found, errs := sessionsOf(t.Context(), daemonstart.Client(p), vms, 300*time.Millisecond)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	for i := range vms {
		if i == 1 && (errs[i] != nil || len(found[i]) != 1) || i != 1 && api.KindOf(errs[i]) != api.KindTimeout {
			t.Errorf("%s: %v, %v", vms[i].Name, found[i], errs[i])
		}
	}
}

// TestVMsAreShownSideBySide: a VMM that hangs holds up no others.
func TestVMsAreShownSideBySide(t *testing.T) {
	w, asking := newFixture(t), newCrowd(3)
	w.HandleFunc("GET /v1/vms/{vm}", func(rw http.ResponseWriter, r *http.Request) {
		if !asking.come() {
			fail(rw, api.Errorf(api.KindTimeout, "it was asked alone"))
			return
		}
		answer(rw, vm(r.PathValue("vm"), api.StateRunning))
	})
	stdout, stderr, status := run("vm", "show", "a", "b", "c")
	if strings.Count(stdout, "name:") != 3 || strings.Index(stdout, " b\n") > strings.Index(stdout, " c\n") || status != 0 {
		t.Errorf("%d, %s\n%s", status, stderr, stdout)
	}
}

// TestVMsAreStoppedSideBySide when banger is removed.
func TestVMsAreStoppedSideBySide(t *testing.T) {
	w, asking := newFixture(t), newCrowd(3)
	w.HandleFunc("GET /v1/vms", func(rw http.ResponseWriter, _ *http.Request) {
		vms := many(4)
		vms[3].State = api.StateStopped
		answer(rw, api.VMList{VMs: vms})
	})
	w.HandleFunc("POST /v1/vms/{vm}/stop", func(rw http.ResponseWriter, r *http.Request) {
		if !asking.come() {
			done(rw, api.Errorf(api.KindTimeout, "%s was stopped alone", r.PathValue("vm")), nil)
			return
		}
		done(rw, nil, &api.Result{VM: &api.VM{}})
	})
	p, err := paths.User()
	if err != nil {
		t.Fatal(err)
	}
	if err := stopRunning(context.Background(), daemonstart.Client(p)); err != nil || strings.Contains(w.called(), many(4)[3].ID) {
		t.Errorf("%v\n%s", err, w.called())
	}
}
