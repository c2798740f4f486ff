package instance

import (
	"context"
	"errors"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/vm/tasks"
)

// machine is one that ends when it is killed.
type machine struct {
	driver.Machine
	done chan struct{}
	fail error // of a kill
}

func (m *machine) PID() int              { return 7 }
func (m *machine) Done() <-chan struct{} { return m.done }
func (m *machine) Exit() driver.Exit     { return driver.Exit{Code: 1} }

func (m *machine) Kill(context.Context) error {
	if m.fail == nil {
		close(m.done)
	}
	return m.fail
}

func newInstance(t *testing.T) (*Instances, *Instance, *machine) {
	t.Helper()
	all := New(Options{}, tasks.New())
	m := &machine{done: make(chan struct{})}
	return all, all.New("0123456789ab", nil, m), m
}

// TestViewOfAnInstance: what is known of the instance changes the state and reason of a VM that runs, and
// of no other.
func TestViewOfAnInstance(t *testing.T) {
	_, i, _ := newInstance(t)
	i.setDiskTrouble("its disk is broken")
	if v := i.View(api.VM{State: api.StateRunning}); v.PID != 7 || v.State != api.StateRunning || v.Reason != "its disk is broken" {
		t.Errorf("%+v", v)
	}
	i.setDiskTrouble("")
	i.stalled.Store(true)
	if v := i.View(api.VM{State: api.StateRunning}); v.State != api.StatePaused || v.Reason == "" {
		t.Errorf("%+v", v)
	}
	if v := i.View(api.VM{State: api.StateFailed, Reason: "why"}); v.State != api.StateFailed || v.Reason != "why" {
		t.Errorf("%+v", v)
	}
}

// TestKillWaitsForTheRecord: a kill returns when the end is recorded. Its reason is the VM's, also if a
// shutdown sets its own after that.
func TestKillWaitsForTheRecord(t *testing.T) {
	all, i, m := newInstance(t)
	killed := make(chan error, 1)
	go func() { killed <- i.Kill(t.Context(), "killed") }()
	<-m.done
	i.SetFirstReason("stopped")
	select {
	case err := <-killed:
		t.Fatalf("it is over before that is recorded: %v", err)
	default:
	}
	if after, why := all.WhyEnded(i); after != api.StateStopped || why != "killed" {
		t.Errorf("%s: %s", after, why)
	}
	i.MarkGone()
	if err := <-killed; err != nil {
		t.Error(err)
	}
}

// TestKillThatFails: a kill that fails does not wait.
func TestKillThatFails(t *testing.T) {
	_, i, m := newInstance(t)
	m.fail = errors.New("bangerd-root does not answer")
	if err := i.Kill(t.Context(), "killed"); !errors.Is(err, m.fail) {
		t.Errorf("it says %v", err)
	}
}

// signalled is a machine that records signals, and ends by SIGTERM.
type signalled struct {
	machine
	got []api.Signal
}

func (m *signalled) Signal(_ context.Context, sig api.Signal) error {
	m.got = append(m.got, sig)
	if sig == api.SignalTerm {
		close(m.done)
	}
	return m.fail
}

// TestSignal: the reason of the VM's end names the signal, unless the VMM survives it.
func TestSignal(t *testing.T) {
	all, i, _ := newInstance(t)
	if err := i.Signal(t.Context(), api.SignalTerm, "why"); api.KindOf(err) != api.KindUnsupported {
		t.Errorf("a driver that cannot: %v", err)
	}
	m := &signalled{machine: machine{done: make(chan struct{})}}
	i = all.New("0123456789ab", nil, m)
	i.SetFirstReason("stopped")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := i.Signal(ctx, api.SignalQuit, "killed by SIGQUIT"); err == nil || i.knownReason() != "stopped" {
		t.Errorf("it survives: %v, %q", err, i.knownReason())
	}
	m.fail = errors.New("bangerd-root does not answer")
	if err := i.Signal(t.Context(), api.SignalInt, "killed by SIGINT"); !errors.Is(err, m.fail) || i.knownReason() != "stopped" {
		t.Errorf("it fails: %v, %q", err, i.knownReason())
	}
	m.fail = driver.ErrGone // it has ended meanwhile
	go func() {
		<-m.done
		i.MarkGone()
	}()
	if err := i.Signal(t.Context(), api.SignalTerm, "killed by SIGTERM"); err != nil {
		t.Error(err)
	}
	if _, why := all.WhyEnded(i); why != "killed by SIGTERM" || len(m.got) != 3 {
		t.Errorf("%q after %q", why, m.got)
	}
}

// TestOpenOfAnInstanceThatEnds: a request for a channel ends when the VMM does.
func TestOpenOfAnInstanceThatEnds(t *testing.T) {
	_, i, m := newInstance(t)
	opened := make(chan error, 1)
	go func() {
		_, err := i.Open(t.Context())
		opened <- err
	}()
	close(m.done)
	if err := <-opened; api.KindOf(err) != api.KindConflict {
		t.Errorf("it says %v", err)
	}
}
