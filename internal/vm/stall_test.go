package vm

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
)

// stalling is a driver of machines that stand still while the test says so.
type stalling struct {
	driver.Driver
	still   atomic.Bool
	resumed atomic.Int32
}

// stallingMachine counts how often it is resumed.
type stallingMachine struct {
	driver.Machine
	*stalling
}

func (s *stalling) Start(ctx context.Context, spec driver.Spec) (driver.Machine, error) {
	m, err := s.Driver.Start(ctx, spec)
	return stallingMachine{m, s}, err
}

func (m stallingMachine) Stalled(context.Context) (bool, error) { return m.still.Load(), nil }
func (m stallingMachine) Pause(context.Context) error           { return nil }
func (m stallingMachine) Resume(context.Context) error {
	m.resumed.Add(1)
	return nil
}

// TestStalledMachine: a VM that stands still because the host's disk is full is called
// paused, commands in it are refused at once with the reason, and it is had go on.
func TestStalledMachine(t *testing.T) {
	w := newWorld(t)
	m := &stalling{Driver: w.machines.Drivers[0]}
	w.machines.Drivers[0] = m
	w.instances.StallEvery = 5 * time.Millisecond
	w.instances.Room = func(n int64) error { // little, but enough to go on
		if n > 16<<20 {
			return noRoom()
		}
		return nil
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	m.still.Store(true)
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
}
