package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
)

// TestLostAnswersAreAskedForAgain: a change that the daemon died over is asked for again,
// with the same key, before and after the first event.
func TestLostAnswersAreAskedForAgain(t *testing.T) {
	for name, call := range map[string]func(c *Client) error{
		"operation": func(c *Client) error {
			_, err := c.VMs().Create(t.Context(), api.CreateVM{Name: "dev"}, nil)
			return err
		},
		"deletion": func(c *Client) error { return c.VMs().Delete(t.Context(), "dev", true, nil) },
		"change":   func(c *Client) error { _, err := c.VMs().Rename(t.Context(), "dev", "web"); return err },
	} {
		var mu sync.Mutex
		seen := map[string]int{}
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			seen[r.Header.Get(api.KeyHeader)]++
			n := seen[r.Header.Get(api.KeyHeader)]
			mu.Unlock()
			switch {
			case n == 2: // it has begun to answer
				w.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(w).Flush()
				fallthrough
			case n == 1:
				panic(http.ErrAbortHandler)
			case name == "change":
				_ = json.NewEncoder(w).Encode(api.VM{Name: "web"})
			default:
				first(w, "op1")
				final(w, api.Operation{ID: "op1", Status: api.OpDone}, &api.Result{VM: &api.VM{}})
			}
		}))
		if err := call(c); err != nil || len(seen) != 1 {
			t.Errorf("%s: %v; keys %v", name, err, seen)
		}
	}
}

// TestStopIsNotAskedForAgain: the daemon that answers then is the next one.
func TestStopIsNotAskedForAgain(t *testing.T) {
	var tries atomic.Int32
	c := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		tries.Add(1)
		panic(http.ErrAbortHandler)
	}))
	if err := c.Daemon().Stop(t.Context()); err == nil || tries.Load() != 1 {
		t.Errorf("%v after %d tries", err, tries.Load())
	}
}

// TestWaitOutlivesManyRestarts: as long as daemons answer for a while, any number of them
// may go.
func TestWaitOutlivesManyRestarts(t *testing.T) {
	var tries atomic.Int32
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tries.Add(1) < 3*maxBreaks {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(soonTime + 20*time.Millisecond)
			panic(http.ErrAbortHandler)
		}
		_ = json.NewEncoder(w).Encode(api.VM{State: api.StateStopped})
	}))
	if vm, err := c.VMs().Wait(t.Context(), "dev"); err != nil || vm.State != api.StateStopped {
		t.Errorf("got %+v, %v", vm, err)
	}
}

// TestLogsOutliveRestarts: each byte comes once.
func TestLogsOutliveRestarts(t *testing.T) {
	log := strings.Repeat("what the guest says\n", 100)
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := 500 // as for a tail
		if r.URL.Query().Has("from") {
			fmt.Sscan(r.URL.Query().Get("from"), &from)
		} else if r.URL.Query().Get("tail") != "75" {
			t.Errorf("asked for %s", r.URL.RawQuery)
		}
		w.Header().Set(api.LogOffsetHeader, fmt.Sprint(from))
		to := min(len(log), from+333)
		fmt.Fprint(w, log[from:to])
		_ = http.NewResponseController(w).Flush()
		if to < len(log) {
			time.Sleep(soonTime + 20*time.Millisecond)
			panic(http.ErrAbortHandler)
		}
	}))
	var got bytes.Buffer
	if err := c.VMs().Logs(t.Context(), "dev", true, 75, &got); err != nil || got.String() != log[500:] {
		t.Errorf("%d of %d bytes, %v", got.Len(), len(log)-500, err)
	}
	// Without a daemon that says where it begins, what broke off is said.
	older := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, log)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	if err := older.VMs().Logs(context.Background(), "dev", true, -1, &got); err == nil {
		t.Error("a log that broke off is taken for a whole one")
	}
}

// TestStreamIsAskedForAgain: until a daemon has answered, nothing of a stream has begun.
func TestStreamIsAskedForAgain(t *testing.T) {
	var tries atomic.Int32
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tries.Add(1) < 5 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(api.Errorf(api.KindNotFound, "no VM"))
	}))
	if _, err := c.Guest("dev").Dial(t.Context()); api.KindOf(err) != api.KindNotFound || tries.Load() != 5 {
		t.Errorf("%v after %d tries", err, tries.Load())
	}
}
