package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/update/journal"
	"banger/internal/vmid"
)

// askTimeout bounds one question to the daemon, which runs as the owner: the owner can stop
// its process, or have another one answer for it, slowly or not at all. A daemon that
// has to be started first takes up to a minute (client.readyTime).
const askTimeout = 90 * time.Second

// execsTimeout bounds the commands in all guests together, before an update and after it.
const execsTimeout = 10 * time.Minute

// The most that is believed of what the daemon says: one owner has 16,383 VMs at most
// (maxSlot in package vm), and the doctor has some dozen checks.
const (
	maxVMs    = 16 << 10
	maxName   = 256 // bytes of a name
	maxChecks = 1000
)

func askDaemon[T any](ctx context.Context, m Machine, ask func(context.Context) (T, error)) (T, error) {
	limit := cmp.Or(m.Patience, askTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
	defer cancel()
	answer, err := ask(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return answer, api.Errorf(api.KindTimeout, "%w", context.Cause(ctx))
	}
	return answer, err
}

func (m Machine) operations(ctx context.Context) ([]api.Operation, error) {
	return askDaemon(ctx, m, m.Operations)
}

// vms lists the VMs, as far as what is listed can be written down.
func (m Machine) vms(ctx context.Context) ([]api.VM, error) {
	vms, err := askDaemon(ctx, m, m.VMs)
	if err == nil && len(vms) > maxVMs {
		err = api.Errorf(api.KindInternal, "%d VMs are more than there can be", len(vms))
	}
	for _, v := range vms {
		if err == nil && (!vmid.Valid(v.ID) || len(v.Name) > maxName || v.PID < 0 || len(v.BootID) > maxName) {
			err = api.Errorf(api.KindInternal, "%.80q, named %.80q, is not a VM", v.ID, v.Name)
		}
	}
	return vms, err
}

func (m Machine) doctor(ctx context.Context) ([]api.Check, error) {
	checks, err := askDaemon(ctx, m, m.Doctor)
	if err == nil && len(checks) > maxChecks {
		err = api.Errorf(api.KindInternal, "%d checks are more than there can be", len(checks))
	}
	return checks, err
}

// acceptFlag is how an update is asked for that the owner cannot keep from being made.
const acceptFlag = "--unproven-daemon"

// hintUnproven adds to a refusal that depends on what the owner's daemon, or a program that
// runs as the owner, says or does not say, how root goes on without.
func (m Machine) hintUnproven(err error) error {
	if err == nil || !m.System {
		return err
	}
	e := *api.AsError(err)
	if e.Hint != "" {
		e.Hint += "\n"
	}
	e.Hint += fmt.Sprintf("%s %s   goes on without the owner's daemon", m.command(), acceptFlag)
	return &e
}

// reportOrFail tells of such a failure and goes on, where the update was asked for that.
func (m Machine) reportOrFail(ctx context.Context, unproven bool, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if !unproven {
		return m.hintUnproven(err)
	}
	m.Report("going on without the owner's daemon: " + api.AsError(err).Message)
	return nil
}

// recordOrFail is overlook for what is worth a line in the account.
func (r *run) recordOrFail(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || !r.j.UnprovenDaemon {
		return err
	}
	r.addProblem("the owner's daemon: " + api.AsError(err).Message)
	return nil
}

// proveHelper says what is not as it has to be on root's side alone: the helper is the
// new version, and stays up.
func (r *run) proveHelper(ctx context.Context, version string) error {
	over := time.NewTimer(r.j.Settle)
	defer over.Stop()
	first := 0
	for last := false; ; {
		says, pid, err := askHelper(ctx, r.Machine)
		switch {
		case err != nil:
			return fmt.Errorf("the root helper does not answer: %w", err)
		case says != version:
			return fmt.Errorf("the root helper says that it is version %s", says)
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
		case <-time.After(max(r.Tick, time.Millisecond)):
		}
	}
}

func askHelper(ctx context.Context, m Machine) (version string, pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return m.Helper(ctx)
}

// AcceptDaemon has the update whose journal is there go on without the owner's daemon.
func (m Machine) AcceptDaemon(ctx context.Context) error {
	unlock, err := m.lockFor(ctx, false)
	if err != nil {
		return err
	}
	defer unlock()
	j, err := journal.Read(m.Journal())
	if err != nil {
		return err
	}
	j.UnprovenDaemon = true
	return j.Write(m.Journal())
}

// HintUnproven adds to the failure of an update that is over how root goes on without the
// owner's daemon, where that may be what kept it from being made.
func (m Machine) HintUnproven(j journal.Journal, failure error) error {
	switch j.Reached {
	case journal.Holding, journal.BackingUp, journal.Starting, journal.Probing:
		if !j.UnprovenDaemon {
			return m.hintUnproven(failure)
		}
	}
	return failure
}
