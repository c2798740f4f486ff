package update

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/update/journal"
)

// doctorFail is the status of a check that failed (api.Check).
const doctorFail = "fail"

// pingTimeout bounds one request while a version settles.
const pingTimeout = 10 * time.Second

// probe returns the problems of a version; none if the version is proven.
func (r *run) probe(ctx context.Context, version string) []string {
	if err := r.answersAs(ctx, version); err != nil {
		return []string{err.Error()}
	}
	before, err := r.Daemons(ctx)
	if err != nil {
		return []string{"the daemons' processes cannot be found: " + err.Error()}
	}
	// A guest whose process is gone stays gone: no need to wait for the settling time.
	if problems := r.lostProcesses(); len(problems) > 0 {
		return problems
	}
	if err := r.settle(ctx, version, before); err != nil {
		return []string{err.Error()}
	}
	problems := r.changedVMs(ctx)
	problems = append(problems, r.guestsNotResponding(ctx)...)
	return append(problems, r.newDoctorFailures(ctx)...)
}

func (r *run) answersAs(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	answers, err := r.Answers(ctx)
	if err != nil {
		return fmt.Errorf("a daemon does not answer: %w", err)
	}
	for _, v := range answers {
		if v != version {
			return fmt.Errorf("a daemon reports version %s", v)
		}
	}
	return nil
}

// settle watches both daemons until the settling time is over.
func (r *run) settle(ctx context.Context, version string, daemons []int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := time.NewTimer(r.j.Settle)
	defer over.Stop()
	tick := time.NewTicker(max(r.Tick, time.Millisecond))
	defer tick.Stop()
	for last := false; !last; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over.C:
			last = true
		case <-tick.C:
		}
		if err := r.answersAs(ctx, version); err != nil {
			return err
		}
		now, err := r.Daemons(ctx)
		if err != nil || !slices.Equal(now, daemons) {
			return fmt.Errorf("a daemon ended and was started again: pids %v became %v", daemons, now)
		}
	}
	return nil
}

func (r *run) lostProcesses() []string {
	var problems []string
	for _, g := range r.j.Guests {
		if now, err := r.Identify(g.Process.PID); err != nil || now != g.Process {
			problems = append(problems, fmt.Sprintf("the process of VM %s is gone", g.Name))
		}
	}
	return problems
}

// changedVMs returns which VMs the new version does not list, and which guests are not
// as they were. A VM that was being deleted, as `vm run --rm` does at its end, is
// ignored.
func (r *run) changedVMs(ctx context.Context) []string {
	vms, err := r.vms(ctx)
	if err != nil {
		return []string{"the VMs cannot be listed: " + err.Error()}
	}
	ops, err := r.operations(ctx)
	if err != nil {
		return []string{"the operations cannot be listed: " + err.Error()}
	}
	r.j.Guests = slices.DeleteFunc(r.j.Guests, func(g journal.Guest) bool {
		return slices.ContainsFunc(ops, func(o api.Operation) bool { return o.Kind == "vm.delete" && o.Target == g.ID })
	})
	problems := append(r.lostProcesses(), r.unknownVMs(vms)...)
	for _, g := range r.j.Guests {
		i := slices.IndexFunc(vms, func(v api.VM) bool { return v.ID == g.ID })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("VM %s is no longer listed", g.Name))
		case vms[i].State != api.StateRunning && vms[i].State != api.StatePaused:
			problems = append(problems, fmt.Sprintf("VM %s ran and is %s", g.Name, vms[i].State))
		case vms[i].PID != g.Process.PID:
			problems = append(problems, fmt.Sprintf("VM %s was process %d and is %d", g.Name, g.Process.PID, vms[i].PID))
		case vms[i].BootID != g.BootID:
			problems = append(problems, fmt.Sprintf("VM %s was rebooted", g.Name))
		}
	}
	return problems
}

// unknownVMs returns which VMs are no longer listed, except for guests, which
// changedVMs reports by name. A deleted VM is removed from the store after its
// directory, never before.
func (r *run) unknownVMs(vms []api.VM) []string {
	var problems []string
	for _, id := range r.j.VMs {
		guest := slices.ContainsFunc(r.j.Guests, func(g journal.Guest) bool { return g.ID == id })
		known := slices.ContainsFunc(vms, func(v api.VM) bool { return v.ID == id })
		if _, err := os.Lstat(r.VM(id)); err == nil && !guest && !known {
			problems = append(problems, fmt.Sprintf("VM %s is no longer listed", id))
		}
	}
	return problems
}

// guestsNotResponding returns in which guests no command can be run any more.
func (r *run) guestsNotResponding(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, execsTimeout)
	defer cancel()
	var problems []string
	var mu sync.Mutex
	eachGuest(r.j.Guests, func(g *journal.Guest) {
		if !g.Exec {
			return
		}
		if err := r.execIn(ctx, g.ID); err != nil {
			mu.Lock()
			defer mu.Unlock()
			problems = append(problems, fmt.Sprintf("no command can be run in VM %s: %s", g.Name, err))
		}
	})
	slices.Sort(problems)
	return problems
}

// newDoctorFailures returns what the doctor finds that it did not find before.
func (r *run) newDoctorFailures(ctx context.Context) []string {
	checks, err := r.doctor(ctx)
	if err != nil {
		return []string{"the doctor cannot be run: " + err.Error()}
	}
	var problems []string
	for _, c := range checks {
		if c.Status == doctorFail && !slices.Contains(r.j.Failed, c.Name) {
			problems = append(problems, fmt.Sprintf("the doctor reports %s: %s", c.Name, c.Found))
		}
	}
	return problems
}
