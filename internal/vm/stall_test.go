package vm

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
)

// stallingMachine stands still until it is resumed.
type stallingMachine struct {
	driver.Machine
	still   atomic.Bool
	resumed atomic.Int32
}

func (m *stallingMachine) Stalled(context.Context) (bool, error) { return m.still.Load(), nil }
func (m *stallingMachine) Pause(context.Context) error           { return nil }
func (m *stallingMachine) Resume(context.Context) error {
	m.resumed.Add(1)
	return nil
}

// TestStalledMachine: a VM that stands still because the host's disk is full is called
// paused, commands in it are refused at once with the reason, and it is had go on.
func TestStalledMachine(t *testing.T) {
	w := newWorld(t)
	w.Service.stallEvery = 5 * time.Millisecond
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	vm := w.show("dev")
	w.mu.Lock()
	e := w.vms[vm.ID]
	w.mu.Unlock()
	m := &stallingMachine{Machine: e.run.machine}
	m.still.Store(true)
	r := &instance{machine: m, changed: make(chan struct{})}
	r.stalled.Store(true) // as found by an earlier look
	w.mu.Lock()
	real := e.run
	e.run = r
	w.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); w.watchStall(e, r) }()
	wait := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	wait("it was not had go on", func() bool { return m.resumed.Load() > 0 })
	got, err := w.Find("dev")
	if err != nil || got.State != api.StatePaused || got.Reason == "" {
		t.Errorf("%s (%s), %v", got.State, got.Reason, err)
	}
	if _, err := w.DialGuest(t.Context(), "dev"); api.KindOf(err) != api.KindNoSpace || api.AsError(err).Hint == "" {
		t.Errorf("%v", err)
	}
	m.still.Store(false)
	wait("it is still called paused", func() bool { got, _ := w.Find("dev"); return got.State == api.StateRunning && got.Reason == "" })
	w.mu.Lock()
	e.run = real
	w.mu.Unlock()
	if err := real.machine.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-done
}
