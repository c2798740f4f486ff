package update

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/internal/installlock/hold"
	"banger/internal/update/journal"
)

// execTimeout bounds the command that is run in each guest.
const execTimeout = 20 * time.Second

// preflight holds back new work and records which guests run.
func (r *run) preflight(ctx context.Context) error {
	r.Report("holding new work back")
	if err := r.takeHold(); err != nil {
		return err
	}
	ops, err := r.unfinished(ctx, r.j.Force)
	if err := r.recordOrFail(ctx, err); err != nil {
		return err
	}
	if err := r.recheckRestore(ctx); err != nil {
		return err
	}
	r.Report("recording which guests run")
	return r.recordOrFail(ctx, r.fingerprint(ctx, ops))
}

// takeHold makes the hold, or makes it again if an earlier updater had it.
func (r *run) takeHold() error {
	if r.hold != nil {
		return nil
	}
	h, err := hold.Make(r.Hold, r.j.To.Version, r.Owner)
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot hold new work back: %w", err)
	}
	r.hold = h
	return nil
}

// unfinished returns the running operations, or refuses the update because of them.
// force accepts only operations that the next daemon can resume.
func (m Machine) unfinished(ctx context.Context, force bool) ([]api.Operation, error) {
	all, err := m.operations(ctx)
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot list the running operations: %w", err)
	}
	ops := slices.DeleteFunc(slices.Clone(all), func(o api.Operation) bool { return o.Status != api.OpRunning })
	var names []string
	forced := true
	for _, o := range ops {
		names = append(names, strings.TrimSpace(api.ActionOf(o.Kind).String()+" "+o.Target))
		forced = forced && resumable(o.Kind)
	}
	if len(ops) == 0 || force && forced {
		return ops, nil
	}
	refusal := api.Errorf(api.KindConflict, "cannot update while work is unfinished: %s", strings.Join(names, ", "))
	if !forced {
		return nil, refusal.WithHint("wait until it has ended: work on images and kernels would have to start again")
	}
	return nil, refusal.WithHint("wait until it has ended; or use --force, and the new version resumes it")
}

// resumable reports whether a new daemon resumes an operation of an earlier one. Work
// on images and kernels runs programs that end with their daemon.
func resumable(kind string) bool { return strings.HasPrefix(kind, "vm.") }

// fingerprint records what has to be the same afterwards. VMs that an operation works
// on may change.
func (r *run) fingerprint(ctx context.Context, ops []api.Operation) error {
	r.j.Guests, r.j.VMs, r.j.Failed = nil, nil, nil
	vms, err := r.vms(ctx)
	if err != nil {
		return api.Errorf(api.KindOf(err), "cannot list the VMs: %w", err)
	}
	for _, v := range vms {
		r.j.VMs = append(r.j.VMs, v.ID)
		busy := slices.ContainsFunc(ops, func(o api.Operation) bool { return strings.Contains(o.Target, v.ID) })
		if busy || v.PID == 0 || v.State != api.StateRunning && v.State != api.StatePaused {
			continue
		}
		id, err := r.Identify(v.PID)
		if err != nil {
			return api.Errorf(api.KindConflict, "cannot find the process of VM %s: %w", v.Name, err).WithHint("banger doctor")
		}
		r.j.Guests = append(r.j.Guests, journal.Guest{ID: v.ID, Name: v.Name, Process: id, BootID: v.BootID})
	}
	execs, cancel := context.WithTimeout(ctx, execsTimeout)
	defer cancel()
	eachGuest(r.j.Guests, func(g *journal.Guest) { g.Exec = r.execIn(execs, g.ID) == nil })
	checks, err := r.doctor(ctx)
	if err != nil {
		return api.Errorf(api.KindOf(err), "cannot ask the doctor: %w", err)
	}
	r.j.Failed = failedChecks(checks)
	return nil
}

func (m Machine) execIn(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, execTimeout, fmt.Errorf("no answer within %s", execTimeout))
	defer cancel()
	if err := m.Exec(ctx, id); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// maxParallel is how many guests are asked at the same time.
const maxParallel = 8

// eachGuest calls do for every guest, maxParallel at a time.
func eachGuest(guests []journal.Guest, do func(*journal.Guest)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, maxParallel)
	for i := range guests {
		slots <- struct{}{}
		all.Go(func() {
			do(&guests[i])
			<-slots
		})
	}
	all.Wait()
}

// failedChecks returns the names of the checks that failed.
func failedChecks(checks []api.Check) []string {
	var names []string
	for _, c := range checks {
		if c.Status == doctorFail {
			names = append(names, c.Name)
		}
	}
	return names
}
