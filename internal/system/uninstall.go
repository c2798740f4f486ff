package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/paths"
)

// UninstallOptions select what to remove.
type UninstallOptions struct {
	Purge bool // also VMs, images and settings
	Force bool // stop running VMs, and an update
}

// Uninstall removes the installation and returns the directories that it leaves. With
// Purge it leaves none, and the machine is as it was before the installation.
func (h *Host) Uninstall(ctx context.Context, o UninstallOptions, report Report) (left []string, err error) {
	if err := errors.Join(h.needRoot("uninstall"), h.needSystemd()); err != nil {
		return nil, first(err)
	}
	m, err := h.Connect(ctx)
	if err != nil {
		return nil, err
	}
	in := h.installation()
	release, err := in.updates.end(ctx, m, o.Force)
	if err != nil {
		return nil, err
	}
	defer release()
	// Only one flag of the record is used, so that a broken record does not prevent the
	// uninstallation.
	r, recordErr := h.Record()
	if err := h.stopVMs(ctx, m, o.Force, report); err != nil {
		return nil, err
	}
	steps := []struct {
		says string
		do   func() error
	}{
		{"stopping " + DaemonUnit, func() error { return m.Stop(ctx, DaemonUnit) }},
		{"removing what the kernel holds for VMs", func() error { return h.removeTraces(ctx, m, report) }},
		{"stopping " + HelperUnit, func() error { return in.daemons.stopHelper(ctx, m) }},
		{"removing systemd's units", func() error { return in.daemons.drop(ctx, m, in.units) }},
		{"removing udev's rules", in.rules.delete},
		{"removing programs and commands", in.programs.delete},
		{"removing directories", func() error { return in.directories.delete(o.Purge) }},
		{"removing " + paths.InstallRecord, func() error {
			if recordErr == nil && r.IPForwardBefore == "0" {
				if err := in.forwarding.turnOff(report); err != nil {
					return err
				}
			}
			// Last, as a second run needs it if the first was interrupted.
			return in.record.delete(o.Purge)
		}},
	}
	for _, s := range steps {
		report(s.says)
		if err := s.do(); err != nil {
			return nil, err
		}
	}
	return in.directories.left(), nil
}

// stopTime bounds how long the daemon, which runs as the owner, may take to stop VMs;
// systemd stops the others.
const stopTime = 10 * time.Minute

// stopVMs refuses to continue while VMs run, or stops them.
func (h *Host) stopVMs(ctx context.Context, m Manager, force bool, report Report) error {
	units, err := runningVMs(ctx, m)
	if err != nil || len(units) == 0 {
		return err
	}
	if !force {
		return api.Errorf(api.KindConflict, "cannot uninstall: %s", vmsRun(len(units))).
			WithHint("banger ps   lists them; stop them, or: sudo banger system uninstall --force")
	}
	report(fmt.Sprintf("stopping VMs: %s", vmsRun(len(units))))
	// The daemon asks the guests to shut down; a daemon that does not run, or cannot do
	// so, must not keep the VMs running.
	asking, cancel := context.WithTimeout(ctx, cmp.Or(h.stopping, stopTime))
	defer cancel()
	if err := h.StopVMs(asking); err != nil {
		report("the daemon could not stop all VMs: " + api.AsError(err).Message)
	}
	if units, err = runningVMs(ctx, m); err != nil {
		return err
	}
	for _, unit := range units {
		if err := m.Stop(ctx, unit); err != nil {
			return err
		}
	}
	return nil
}

func vmsRun(n int) string {
	if n == 1 {
		return "a VM is running"
	}
	return fmt.Sprintf("%d VMs are running", n)
}

// removeTraces makes the helper remove everything with banger's names, which only the
// helper knows. If the helper does not start, the next boot removes it.
func (h *Host) removeTraces(ctx context.Context, m Manager, report Report) error {
	helper, err := m.State(ctx, HelperUnit)
	if err != nil || helper.Load == "not-found" {
		return err // an earlier uninstallation got further
	}
	if helper.Active != "active" {
		if err := m.Restart(ctx, HelperUnit); err != nil {
			report("the root helper does not start: banger's links and firewall rules stay until the next boot: " + api.AsError(err).Message)
			return nil
		}
	}
	return h.RemoveTraces(ctx)
}
