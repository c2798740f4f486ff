package system

import (
	"context"
	"strings"
	"time"

	"banger/api"
	"banger/internal/vmid"
)

// daemons are the two services; see Host about the functions.
type daemons struct {
	connect   func(ctx context.Context) (Manager, error)
	askHelper func(ctx context.Context) (Answer, error)
	askDaemon func(ctx context.Context) (Answer, error)
}

// enable starts or restarts both, now and at each boot.
func (d daemons) enable(ctx context.Context) error {
	m, err := d.connect(ctx)
	if err != nil {
		return err
	}
	if err := m.Reload(ctx); err != nil {
		return err
	}
	if err := m.Enable(ctx, HelperUnit, DaemonUnit, RecoverUnit); err != nil {
		return err
	}
	return d.restart(ctx, m)
}

// answerTime bounds the first request to a daemon that reported that it was ready.
const answerTime = 20 * time.Second

// restart restarts the helper, then the daemon, and waits until each answers.
func (d daemons) restart(ctx context.Context, m Manager) error {
	if err := d.restartUnit(ctx, m, HelperUnit, d.askHelper); err != nil {
		return err
	}
	return d.restartUnit(ctx, m, DaemonUnit, d.askDaemon)
}

func (d daemons) restartUnit(ctx context.Context, m Manager, unit string, ask func(context.Context) (Answer, error)) error {
	// Otherwise systemd does not start a unit again that failed too often.
	if err := m.ResetFailed(ctx, unit); err != nil {
		return err
	}
	if err := m.Restart(ctx, unit); err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := ask(asking); err != nil {
		return api.Errorf(api.KindInternal, "%s was started, but does not answer: %w", unit, err).
			WithHint("journalctl -e -u %s", strings.TrimSuffix(unit, ".service"))
	}
	return nil
}

// startHelper starts or restarts the root helper, and returns when it answers.
func (d daemons) startHelper(ctx context.Context) error {
	m, err := d.connect(ctx)
	if err != nil {
		return err
	}
	return d.restartUnit(ctx, m, HelperUnit, d.askHelper)
}

// startDaemon is startHelper for the daemon.
func (d daemons) startDaemon(ctx context.Context) error {
	m, err := d.connect(ctx)
	if err != nil {
		return err
	}
	return d.restartUnit(ctx, m, DaemonUnit, d.askDaemon)
}

// stopHelper stops the helper, and what is left of VMs.
func (daemons) stopHelper(ctx context.Context, m Manager) error {
	if err := m.Stop(ctx, HelperUnit); err != nil {
		return err
	}
	return m.Stop(ctx, vmid.Slice)
}

// drop deletes the files of the units, and has systemd forget them.
func (daemons) drop(ctx context.Context, m Manager, files unitFiles) error {
	if err := m.Disable(ctx, HelperUnit, DaemonUnit, RecoverUnit); err != nil {
		return err
	}
	if err := files.delete(); err != nil {
		return err
	}
	if err := m.Reload(ctx); err != nil {
		return err
	}
	for _, unit := range []string{HelperUnit, DaemonUnit} {
		if err := m.ResetFailed(ctx, unit); err != nil {
			return err
		}
	}
	return nil
}
