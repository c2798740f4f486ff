package vm

import (
	"context"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
)

// watched is a running VM, dev, that is suspended after a second without use.
func watched(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	soon(t, w)
	return w
}

// soon gives the VM dev a shorter time than a request may ask for.
func soon(t *testing.T, w *world) {
	t.Helper()
	err := w.table.ByID(w.show("dev").ID).Update(t.Context(), func(v *api.VM) { v.IdleSuspendSeconds = 1 })
	if err != nil {
		t.Fatal(err)
	}
}

// sleeps waits until the VM dev is suspended.
func sleeps(t *testing.T, w *world) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); w.show("dev").State != api.StateSuspended; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not suspended: %+v", w.show("dev").Idle)
		}
	}
	w.awaitIdle(w.show("dev").ID)
}

// staysAwake waits for several times the VM's time, and says if it is suspended then, or for another reason awake.
func staysAwake(t *testing.T, w *world, why string) {
	t.Helper()
	time.Sleep(3 * time.Second)
	v := w.show("dev")
	if v.State != api.StateRunning || v.Idle == nil || v.Idle.SuspendsAt == nil || !strings.Contains(v.Idle.Awake, why) {
		t.Errorf("it is %s (%s), %+v, and not awake for %s", v.State, v.Reason, v.Idle, why)
	}
}

func set(t *testing.T, w *world, req api.SetVM) {
	t.Helper()
	if _, err := w.Set(t.Context(), "dev", req); err != nil {
		t.Fatal(err)
	}
}

// TestIdleSuspend: a command without a terminal keeps a VM awake, and so does a hold; a look at it does not.
func TestIdleSuspend(t *testing.T) {
	w := watched(t)
	session, err := (&guest.Client{Dial: dialer(w, "dev")}).Exec(t.Context(), api.Exec{Argv: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	staysAwake(t, w, "exec ")
	session.Close()
	sleeps(t, w) // although show asks all the time

	set(t, w, api.SetVM{Hold: &api.HoldVM{}})
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	staysAwake(t, w, "it is held")
	set(t, w, api.SetVM{Hold: &api.HoldVM{Seconds: 3600}})
	staysAwake(t, w, "it is held until ")
	w.leave()
	w.enter()
	staysAwake(t, w, "it is held until ")
	set(t, w, api.SetVM{Hold: &api.HoldVM{Release: true}})
	sleeps(t, w)

	never := int64(0)
	set(t, w, api.SetVM{IdleSuspendSeconds: &never})
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	time.Sleep(3 * time.Second)
	if v := w.show("dev"); v.State != api.StateRunning || v.Idle != nil {
		t.Errorf("it is %s, %+v, and was to be suspended never", v.State, v.Idle)
	}
}

// TestUseDuringASuspend: what begins while a VM is being suspended waits, and wakes it.
func TestUseDuringASuspend(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	begun := make(chan struct{})
	dialed := make(chan error, 1)
	go func() {
		<-begun
		conn, err := w.DialGuest(guest.Waking(context.Background()), "dev")
		if err == nil {
			conn.Close()
		}
		dialed <- err
	}()
	w.must(w.SuspendIdle(t.Context(), "dev", func(context.Context) error {
		close(begun)
		select {
		case err := <-dialed:
			t.Errorf("it was reached while it was being suspended: %v", err)
			dialed <- err
		case <-time.After(200 * time.Millisecond):
		}
		return nil
	}))
	if err := <-dialed; err != nil {
		t.Error(err)
	}
	w.awaitIdle(w.show("dev").ID)
	if v := w.show("dev"); v.State != api.StateRunning {
		t.Errorf("it is %s", v.State)
	}
}

// TestUsedAfterAll: a VM that is used when it is about to be suspended runs on.
func TestUsedAfterAll(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	used := api.Errorf(api.KindConflict, "it is used")
	if err := w.do(w.SuspendIdle(t.Context(), "dev", func(context.Context) error { return used })); api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
	goesOn(t, w)
}

// TestIdleRefusals: times that no VM can have, and a VM that cannot be suspended.
func TestIdleRefusals(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	for _, seconds := range []int64{-1, 1, api.MinIdleSuspend - 1, 1 << 62} {
		if _, err := w.Set(t.Context(), "dev", api.SetVM{IdleSuspendSeconds: &seconds}); api.KindOf(err) != api.KindInvalid {
			t.Errorf("after %d s: %v", seconds, err)
		}
	}
	for _, hold := range []api.HoldVM{{Seconds: -1}, {Seconds: 1 << 62}, {Seconds: 1, Release: true}} {
		if _, err := w.Set(t.Context(), "dev", api.SetVM{Hold: &hold}); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%+v: %v", hold, err)
		}
	}
	w.Setter.CanSuspend = func(api.VM) error { return api.Errorf(api.KindUnsupported, "it cannot") }
	minute := int64(60)
	for _, req := range []api.SetVM{{IdleSuspendSeconds: &minute}, {IdleSuspendSeconds: &minute, VCPUs: new(int)}} {
		if _, err := w.Set(t.Context(), "dev", req); api.KindOf(err) != api.KindUnsupported {
			t.Errorf("%v", err)
		}
	}
	if v := w.show("dev"); v.IdleSuspendSeconds != 0 || v.Hold != nil {
		t.Errorf("%+v", v)
	}
	if w.table.Suspending("nobody") {
		t.Error("a VM that does not exist is being suspended")
	}
}
