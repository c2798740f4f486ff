// Package instance has the instances of VMs: a VM's VMM process from its start or its recovery to its
// end, with the link to the agent in its guest.
package instance

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
)

// Instance is a VM's VMM process from its start or recovery to its end. Its own lock guards it, which
// is held over nothing that waits.
type Instance struct {
	id      string
	vm      func() api.VM // returns the VM's record
	machine driver.Machine
	asked   atomic.Bool   // it was asked to shut down
	up      chan struct{} // closed when the agent answered for the first time
	gone    chan struct{} // closed when the VMM has ended and that is recorded
	stalled atomic.Bool   // it is stopped because the host's disk is full

	mu          sync.Mutex
	link        *guest.Link   // nil while there is none
	linked      *guest.Link   // the newest one
	changed     chan struct{} // closed and replaced when link changes
	reason      string        // why it will end, if the daemon ends it
	diskTrouble string        // why its disk cannot be written
}

// Machine returns the instance's VMM.
func (i *Instance) Machine() driver.Machine { return i.machine }

// Up is closed when the agent has answered for the first time.
func (i *Instance) Up() <-chan struct{} { return i.up }

// Gone is closed when the VMM has ended and that is recorded.
func (i *Instance) Gone() <-chan struct{} { return i.gone }

// MarkGone closes Gone: the VMM's end is recorded. It is called once.
func (i *Instance) MarkGone() { close(i.gone) }

// Asked reports whether the guest was asked to power off.
func (i *Instance) Asked() bool { return i.asked.Load() }

// View returns the record of the instance's VM with what is known of the VM while it runs.
func (i *Instance) View(v api.VM) api.VM {
	v.PID = i.machine.PID()
	if i.Stalled() && v.State == api.StateRunning {
		v.State, v.Reason = api.StatePaused, "the disk of this host is full"
	}
	if trouble := i.DiskTrouble(); trouble != "" && v.State == api.StateRunning {
		v.Reason = trouble
	}
	return v
}

// BootID returns the id of the guest's boot, or "" without a link.
func (i *Instance) BootID() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.link == nil {
		return ""
	}
	return i.link.BootID()
}

// Incarnation returns what the agent has said last about which continuation of a saved guest this is
// (guest.Link), or nil and nil before it has answered.
func (i *Instance) Incarnation() (*agentproto.Incarnation, *agentproto.Done) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.linked == nil {
		return nil, nil
	}
	return i.linked.Incarnation()
}

// Linked reports whether there is a link to the agent now.
func (i *Instance) Linked() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.link != nil
}

// Open opens a channel to the agent, as soon as there is a link.
func (i *Instance) Open(ctx context.Context) (net.Conn, error) {
	for {
		i.mu.Lock()
		link, changed := i.link, i.changed
		i.mu.Unlock()
		if link != nil {
			if c, err := link.Open(ctx); err == nil {
				return c, nil
			}
		}
		select {
		case <-changed:
		case <-i.machine.Done():
			return nil, api.Errorf(api.KindConflict, "the VM has stopped")
		case <-ctx.Done():
			return nil, api.Errorf(api.KindTimeout, "the guest does not answer: %w", context.Cause(ctx))
		}
	}
}

// Shutdown asks the guest to power off, and reports whether it has ended when ctx ends.
func (i *Instance) Shutdown(ctx context.Context) (ended bool) {
	client := guest.Client{Dial: i.Open}
	i.asked.Store(true)
	err := client.Shutdown(ctx)
	if err != nil && api.KindOf(err) == api.KindTimeout {
		return false
	}
	select {
	case <-i.gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// Kill ends the VMM, and waits until that is recorded.
func (i *Instance) Kill(ctx context.Context, why string) error {
	i.setReason(why)
	if err := i.machine.Kill(ctx); err != nil {
		return err
	}
	select {
	case <-i.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// signalTime is how long a VMM may take to end after a signal that it can catch.
const signalTime = 10 * time.Second

// Signal sends a signal to the VMM, and waits until its end is recorded, for ten seconds at most.
func (i *Instance) Signal(ctx context.Context, sig api.Signal, why string) error {
	m, ok := i.machine.(driver.Signaler)
	if !ok {
		return api.Errorf(api.KindUnsupported, "the VM's driver cannot send signals")
	}
	i.mu.Lock()
	was := i.reason
	i.reason = why
	i.mu.Unlock()
	err := m.Signal(ctx, sig)
	if err == nil || errors.Is(err, driver.ErrGone) {
		within, cancel := context.WithTimeoutCause(ctx, signalTime, errSurvived)
		defer cancel()
		select {
		case <-i.gone:
			return nil
		case <-within.Done():
			err = context.Cause(within)
		}
	}
	i.setReason(was) // it may end later, for another reason
	return err
}

var errSurvived = api.Errorf(api.KindTimeout, "the VMM still runs %s after the signal", signalTime)

func (i *Instance) setReason(why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reason = why
}

// SetFirstReason sets why the VMM will end, if no reason is known.
func (i *Instance) SetFirstReason(why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.reason == "" {
		i.reason = why
	}
}

func (i *Instance) knownReason() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reason
}

func (i *Instance) setLink(l *guest.Link) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.link = l
	if l != nil {
		i.linked = l
	}
	close(i.changed)
	i.changed = make(chan struct{})
}

func (i *Instance) markUp() {
	select {
	case <-i.up:
	default:
		close(i.up) // only keepLink calls this
	}
}
