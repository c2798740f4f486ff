package vm

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"banger/api"
	"banger/internal/vm/records"
	"banger/internal/vm/tasks"
)

// leaseTime is how long a leased VM exists without a holder: more than a client takes to reconnect
// after a restart of the daemon. A client with a stream to its agent holds it.
const leaseTime = 30 * time.Second

// Leases are those of all VMs that have one.
type Leases struct {
	time    time.Duration // leaseTime; tests have less
	logger  *slog.Logger
	tasks   *tasks.Group
	table   *records.Table
	remover *Remover

	mu    sync.Mutex             // taken before the table's
	held  map[*records.Entry]int // how many clients hold the lease of a VM; no entry for none
	looks map[*records.Entry]int // the newest look at a VM that no client holds; none since a client holds it
	last  int                    // the number of the newest look of all
}

// Lease holds a VM's lease until the returned function is called.
func (l *Leases) Lease(ref string) (giveBack func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.table.Find(ref)
	if err != nil {
		return nil, err
	}
	l.held[e]++
	delete(l.looks, e)
	return func() {
		l.giveBack(e)
		l.watch(e)
	}, nil
}

func (l *Leases) giveBack(e *records.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[e]--; l.held[e] == 0 {
		delete(l.held, e)
	}
}

// EndLease removes a VM's lease: the VM is then removed when it stops.
func (l *Leases) EndLease(ctx context.Context, ref string) error {
	e, err := l.table.Find(ref)
	if err != nil {
		return err
	}
	return e.Update(ctx, func(v *api.VM) { v.Leased = false })
}

// watch deletes a leased VM without a holder, unless a client holds it within the time.
func (l *Leases) watch(e *records.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isLost(e, e.Snapshot()) || l.tasks.Context().Err() != nil {
		return
	}
	l.last++
	look := l.last
	l.looks[e] = look
	l.tasks.Go(func() {
		l.endLost(e, look)
		l.endLook(e, look)
	})
}

// isLost reports whether no client holds a leased VM. The caller holds mu.
func (l *Leases) isLost(e *records.Entry, at records.Snapshot) bool {
	return at.VM.Leased && l.held[e] == 0 && !at.Forgotten
}

// endLook forgets a look, unless another has begun.
func (l *Leases) endLook(e *records.Entry, look int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.looks[e] == look {
		delete(l.looks, e)
	}
}

// stillLost reports whether a VM is lost since a look began, and whether something works on it.
func (l *Leases) stillLost(e *records.Entry, look int) (lost, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := e.Snapshot()
	return l.isLost(e, at) && l.looks[e] == look, at.Busy != ""
}

// endLost deletes a VM after leaseTime, and retries if that fails, until it is gone or
// held, or another look began.
func (l *Leases) endLost(e *records.Entry, look int) {
	ctx := l.tasks.Context()
	for pause := l.time; ; {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		lost, busy := l.stillLost(e, look)
		if !lost {
			return
		}
		if busy { // with its creation, perhaps, whose client holds it afterwards
			continue
		}
		pause = maxRemovePause
		l.logger.Info("removing a VM whose client is gone", "vm", e.ID())
		o, err := l.remover.Delete(ctx, e.ID(), true)
		if err == nil {
			err = o.Wait(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		l.logger.Error("cannot remove a VM yet whose client is gone", "vm", e.ID(), "again_in", maxRemovePause, "error", err)
	}
}
