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

// askTimeout bounds one request to the daemon, which runs as the owner: the owner can
// stop its process, or have another program answer slowly or never. A daemon that must
// be started first takes up to a minute (client.readyTime).
const askTimeout = 90 * time.Second

// execsTimeout bounds the commands in all guests together, once before and once after
// an update.
const execsTimeout = 10 * time.Minute

// Limits for answers of the daemon: one owner has at most 16,383 VMs (maxSlot in
// package vm), and the doctor has some dozen checks.
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

// vms lists the VMs and checks that the journal can store them.
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

// acceptFlag asks for an update that the owner cannot prevent.
const acceptFlag = "--unproven-daemon"

// hintUnproven adds to a refusal that depends on the owner's daemon, or on a program
// run as the owner, the command with which root continues without it.
func (m Machine) hintUnproven(err error) error {
	if err == nil || !m.System {
		return err
	}
	e := *api.AsError(err)
	if e.Hint != "" {
		e.Hint += "\n"
	}
	e.Hint += fmt.Sprintf("%s %s   continues without the owner's daemon", m.command(), acceptFlag)
	return &e
}

// reportOrFail reports such a failure and continues, if the update was asked to;
// otherwise it returns it.
func (m Machine) reportOrFail(ctx context.Context, unproven bool, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if !unproven {
		return m.hintUnproven(err)
	}
	m.Report("continuing without the owner's daemon: " + api.AsError(err).Message)
	return nil
}

// AcceptDaemon lets the update in the journal continue without the owner's daemon.
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

// HintUnproven adds to the failure of a finished update how root updates without the
// owner's daemon, if the daemon may have caused the failure.
func (m Machine) HintUnproven(j journal.Journal, failure error) error {
	switch j.Reached {
	case journal.Holding, journal.BackingUp, journal.Starting, journal.Probing:
		if !j.UnprovenDaemon {
			return m.hintUnproven(failure)
		}
	}
	return failure
}
