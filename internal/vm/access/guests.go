// Package access reaches the guests of running VMs: channels to their agents, their sessions, and their
// SSH host keys.
package access

import (
	"context"
	"net"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/paths"
	"banger/internal/vm/instance"
	"banger/internal/vm/records"
)

// Guests are those of all VMs that run.
type Guests struct {
	table *records.Table
	paths paths.Paths
	keys  sync.Mutex // held while a host key is read or made

	// Wake starts a VM if it is suspended, and returns when it runs. It is set before the first request.
	Wake func(ctx context.Context, ref string) error
}

// New returns the guests of the VMs in table.
func New(table *records.Table, p paths.Paths) *Guests { return &Guests{table: table, paths: p} }

// DialGuest opens a channel to the agent of a running VM, or of one that is suspended and that the dial
// wakes (guest.Waking).
func (g *Guests) DialGuest(ctx context.Context, ref string) (net.Conn, error) {
	r, err := g.running(ref)
	if guest.IsWaking(ctx) && g.Wake != nil && (api.KindOf(err) == api.KindSuspended || g.table.Suspending(ref)) {
		if err = g.Wake(ctx, ref); err == nil {
			r, err = g.running(ref)
		}
	}
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, guest.AnswerTime)
	defer cancel()
	conn, err := r.Open(within)
	if err != nil {
		if _, suspended := g.running(ref); api.KindOf(suspended) == api.KindSuspended { // since
			return nil, suspended
		}
	}
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = guest.Unanswered(g.called(ref))
	}
	return conn, err
}

// called returns the name of the VM that ref means.
func (g *Guests) called(ref string) string {
	if at, err := g.table.Look(ref); err == nil {
		return at.VM.Name
	}
	return ref
}

func (g *Guests) running(ref string) (*instance.Instance, error) {
	at, err := g.table.Look(ref)
	if err != nil {
		return nil, err
	}
	return at.Run, at.Reachable()
}

// sessionsTime bounds how long a guest may take to list its sessions: others are asked after it.
const sessionsTime = 15 * time.Second

// Sessions lists the sessions in a guest.
func (g *Guests) Sessions(ctx context.Context, ref string) ([]api.Session, error) {
	at, err := g.table.Look(ref)
	if err != nil {
		return nil, err
	}
	r, err := g.running(at.VM.ID)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, sessionsTime)
	defer cancel()
	list, err := (&guest.Client{Dial: r.Open, VM: func() string { return at.VM.Name }}).Sessions(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = guest.Unanswered(at.VM.Name)
	}
	return list, err
}
