package update

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/internal/update/journal"
)

// doctorFail is the status of a check that failed (api.Check).
const doctorFail = "fail"

// pingTimeout bounds one request while a version settles.
const pingTimeout = 10 * time.Second

// proof compares VMs, guests and the doctor's checks before an update and after it.
type proof struct{ *progress }

// prepare records what has to be the same afterwards. VMs that an operation works
// on may change.
func (p proof) prepare(ctx context.Context, ops []api.Operation) error {
	p.j.Guests, p.j.VMs, p.j.Failed = nil, nil, nil
	vms, err := p.vms(ctx)
	if err != nil {
		return api.Errorf(api.KindOf(err), "cannot list the VMs: %w", err)
	}
	for _, v := range vms {
		p.j.VMs = append(p.j.VMs, v.ID)
		busy := slices.ContainsFunc(ops, func(o api.Operation) bool { return strings.Contains(o.Target, v.ID) })
		if busy || v.PID == 0 || v.State != api.StateRunning && v.State != api.StatePaused {
			continue
		}
		id, err := p.Identify(v.PID)
		if err != nil {
			return api.Errorf(api.KindConflict, "cannot find the process of VM %s: %w", v.Name, err).WithHint("banger doctor")
		}
		p.j.Guests = append(p.j.Guests, journal.Guest{ID: v.ID, Name: v.Name, Process: id, BootID: v.BootID})
	}
	execs, cancel := context.WithTimeout(ctx, execsTimeout)
	defer cancel()
	eachGuest(p.j.Guests, func(g *journal.Guest) { g.Exec = p.execIn(execs, g.ID) == nil })
	checks, err := p.doctor(ctx)
	if err != nil {
		return api.Errorf(api.KindOf(err), "cannot ask the doctor: %w", err)
	}
	p.j.Failed = failedChecks(checks)
	return nil
}

// probe returns the problems of a version; none if the version is proven.
func (p proof) probe(ctx context.Context, version string) []string {
	if err := p.answersAs(ctx, version); err != nil {
		return []string{err.Error()}
	}
	before, err := p.Daemons(ctx)
	if err != nil {
		return []string{"the daemons' processes cannot be found: " + err.Error()}
	}
	// A guest whose process is gone stays gone: no need to wait for the settling time.
	if problems := p.lostProcesses(); len(problems) > 0 {
		return problems
	}
	if err := p.settle(ctx, version, before); err != nil {
		return []string{err.Error()}
	}
	problems := p.changedVMs(ctx)
	problems = append(problems, p.guestsNotResponding(ctx)...)
	return append(problems, p.newDoctorFailures(ctx)...)
}

func (p proof) answersAs(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	answers, err := p.Answers(ctx)
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
func (p proof) settle(ctx context.Context, version string, daemons []int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := time.NewTimer(p.j.Settle)
	defer over.Stop()
	tick := time.NewTicker(max(p.Tick, time.Millisecond))
	defer tick.Stop()
	for last := false; !last; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over.C:
			last = true
		case <-tick.C:
		}
		if err := p.answersAs(ctx, version); err != nil {
			return err
		}
		now, err := p.Daemons(ctx)
		if err != nil || !slices.Equal(now, daemons) {
			return fmt.Errorf("a daemon ended and was started again: pids %v became %v", daemons, now)
		}
	}
	return nil
}

func (p proof) lostProcesses() []string {
	var problems []string
	for _, g := range p.j.Guests {
		if now, err := p.Identify(g.Process.PID); err != nil || now != g.Process {
			problems = append(problems, fmt.Sprintf("the process of VM %s is gone", g.Name))
		}
	}
	return problems
}

// changedVMs returns which VMs the new version does not list, and which guests are not
// as they were. A VM that was being deleted, as `vm run --rm` does at its end, is
// ignored.
func (p proof) changedVMs(ctx context.Context) []string {
	vms, err := p.vms(ctx)
	if err != nil {
		return []string{"the VMs cannot be listed: " + err.Error()}
	}
	ops, err := p.operations(ctx)
	if err != nil {
		return []string{"the operations cannot be listed: " + err.Error()}
	}
	p.j.Guests = slices.DeleteFunc(p.j.Guests, func(g journal.Guest) bool {
		return slices.ContainsFunc(ops, func(o api.Operation) bool { return o.Kind == "vm.delete" && o.Target == g.ID })
	})
	problems := append(p.lostProcesses(), p.unknownVMs(vms)...)
	for _, g := range p.j.Guests {
		i := slices.IndexFunc(vms, func(v api.VM) bool { return v.ID == g.ID })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("VM %s is not listed any more", g.Name))
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

// unknownVMs returns which VMs are not listed any more, except for guests, which
// changedVMs reports by name. A deleted VM is removed from the store after its
// directory, never before.
func (p proof) unknownVMs(vms []api.VM) []string {
	var problems []string
	for _, id := range p.j.VMs {
		guest := slices.ContainsFunc(p.j.Guests, func(g journal.Guest) bool { return g.ID == id })
		known := slices.ContainsFunc(vms, func(v api.VM) bool { return v.ID == id })
		if _, err := os.Lstat(p.VM(id)); err == nil && !guest && !known {
			problems = append(problems, fmt.Sprintf("VM %s is not listed any more", id))
		}
	}
	return problems
}

// guestsNotResponding returns in which guests no command can be run any more.
func (p proof) guestsNotResponding(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, execsTimeout)
	defer cancel()
	var problems []string
	var mu sync.Mutex
	eachGuest(p.j.Guests, func(g *journal.Guest) {
		if !g.Exec {
			return
		}
		if err := p.execIn(ctx, g.ID); err != nil {
			mu.Lock()
			defer mu.Unlock()
			problems = append(problems, fmt.Sprintf("no command can be run in VM %s: %s", g.Name, err))
		}
	})
	slices.Sort(problems)
	return problems
}

// newDoctorFailures returns what the doctor finds that it did not find before.
func (p proof) newDoctorFailures(ctx context.Context) []string {
	checks, err := p.doctor(ctx)
	if err != nil {
		return []string{"the doctor cannot be run: " + err.Error()}
	}
	var problems []string
	for _, c := range checks {
		if c.Status == doctorFail && !slices.Contains(p.j.Failed, c.Name) {
			problems = append(problems, fmt.Sprintf("the doctor reports %s: %s", c.Name, c.Found))
		}
	}
	return problems
}

// ofHelper checks root's side alone: the helper is the new version, and stays up.
func (p proof) ofHelper(ctx context.Context, version string) error {
	over := time.NewTimer(p.j.Settle)
	defer over.Stop()
	first := 0
	for last := false; ; {
		says, pid, err := askHelper(ctx, p.Machine)
		switch {
		case err != nil:
			return fmt.Errorf("the root helper does not answer: %w", err)
		case says != version:
			return fmt.Errorf("the root helper reports version %s", says)
		case first != 0 && pid != first:
			return fmt.Errorf("the root helper ended and was started again: pid %d became %d", first, pid)
		case last:
			return nil
		}
		first = pid
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over.C:
			last = true
		case <-time.After(max(p.Tick, time.Millisecond)):
		}
	}
}

func askHelper(ctx context.Context, m Machine) (version string, pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return m.Helper(ctx)
}
