package systemd

import (
	"context"
	"syscall"
)

// Stop stops a unit and waits until it has ended. It succeeds if the unit does not
// exist.
func (b *Bus) Stop(ctx context.Context, unit string) error {
	return b.change(ctx, "stop", "StopUnit", unit)
}

// Start starts a unit from its file and waits: for a service of Type=notify, until it
// reports that it is ready.
func (b *Bus) Start(ctx context.Context, unit string) error {
	return b.change(ctx, "start", "StartUnit", unit)
}

// Restart stops a unit if it runs, starts it and waits like Start.
func (b *Bus) Restart(ctx context.Context, unit string) error {
	return b.change(ctx, "restart", "RestartUnit", unit)
}

func (b *Bus) change(ctx context.Context, verb, method, unit string) error {
	var result string
	err := b.with(ctx, func(l *link) error {
		var err error
		result, err = l.job(ctx, unit, method, unit, "replace")
		return err
	})
	switch {
	case noSuchUnit(err) && method == "StopUnit":
		return nil
	case err != nil:
		return explain(verb, unit, err)
	case result == done:
		return nil
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	state, _ := b.State(after, unit)
	return failedStart(unit, result, state)
}

// Kill sends a signal to all of a unit's processes. It succeeds if the unit does not
// exist.
func (b *Bus) Kill(ctx context.Context, unit string, sig syscall.Signal) error {
	err := b.with(ctx, func(l *link) error {
		return l.call(ctx, "KillUnit", []any{unit, "all", int32(sig)})
	})
	if noSuchUnit(err) || errorName(err) == service+".NoSuchProcess" {
		return nil
	}
	return explain("kill", unit, err)
}

// ResetFailed resets the failed state of a unit; a transient unit is removed by that.
func (b *Bus) ResetFailed(ctx context.Context, unit string) error {
	err := b.with(ctx, func(l *link) error {
		return l.call(ctx, "ResetFailedUnit", []any{unit})
	})
	if noSuchUnit(err) {
		return nil
	}
	return explain("reset", unit, err)
}

// Reload makes systemd read the unit files again.
func (b *Bus) Reload(ctx context.Context) error {
	err := b.with(ctx, func(l *link) error { return l.call(ctx, "Reload", nil) })
	return explain("reload", "unit files", err)
}

// Enable makes units start at boot, as their [Install] sections specify.
func (b *Bus) Enable(ctx context.Context, units ...string) error {
	err := b.with(ctx, func(l *link) error {
		return l.call(ctx, "EnableUnitFiles", []any{units, false, true})
	})
	return explain("enable", units[0], err)
}

// Disable undoes Enable. A unit without a file counts as disabled.
func (b *Bus) Disable(ctx context.Context, units ...string) error {
	err := b.with(ctx, func(l *link) error {
		return l.call(ctx, "DisableUnitFiles", []any{units, false})
	})
	if noSuchUnit(err) || errorName(err) == "org.freedesktop.DBus.Error.FileNotFound" {
		return nil
	}
	return explain("disable", units[0], err)
}
