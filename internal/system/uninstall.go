package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/vmid"
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
	release, err := h.endUpdates(ctx, m, o.Force)
	if err != nil {
		return nil, err
	}
	defer release()
	// Only one flag of the record is used, so that a broken record does not prevent the
	// uninstallation.
	r, recordErr := h.record()
	if err := h.stopVMs(ctx, m, o.Force, report); err != nil {
		return nil, err
	}
	steps := []struct {
		says string
		do   func() error
	}{
		{"stopping " + DaemonUnit, func() error { return m.Stop(ctx, DaemonUnit) }},
		{"removing what the kernel holds for VMs", func() error { return h.removeTraces(ctx, m, report) }},
		{"stopping " + HelperUnit, func() error { return h.stopHelper(ctx, m) }},
		{"removing systemd's units", func() error { return h.dropUnits(ctx, m) }},
		{"removing udev's rules", h.removeRules},
		{"removing programs and commands", h.removePrograms},
		{"removing directories", func() error { return h.removeDirs(o.Purge) }},
		{"removing " + paths.InstallRecord, func() error {
			if recordErr == nil && r.IPForwardBefore == "0" {
				if err := h.stopForwarding(report); err != nil {
					return err
				}
			}
			// Last, as a second run needs it if the first was interrupted.
			return h.removeRecord(o.Purge)
		}},
	}
	for _, s := range steps {
		report(s.says)
		if err := s.do(); err != nil {
			return nil, err
		}
	}
	return h.left(), nil
}

// endUpdates excludes updates until release is called. A running update is refused, or
// stopped if that is requested, and its state is removed with the rest.
func (h *Host) endUpdates(ctx context.Context, m Manager, force bool) (release func(), err error) {
	stop := func() error { return errors.Join(m.Stop(ctx, UpdateUnit), m.Stop(ctx, RecoverUnit)) }
	if force {
		if err := stop(); err != nil { // it holds the lock
			return nil, err
		}
		return h.withInstallLock(ctx, "uninstall")
	}
	if release, err = h.withInstallLock(ctx, "uninstall"); err != nil {
		return nil, err
	}
	if err = h.noUpdate("uninstall"); err == nil {
		err = stop()
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
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

func (h *Host) stopHelper(ctx context.Context, m Manager) error {
	if err := m.Stop(ctx, HelperUnit); err != nil {
		return err
	}
	return m.Stop(ctx, vmid.Slice)
}

func (h *Host) dropUnits(ctx context.Context, m Manager) error {
	if err := m.Disable(ctx, HelperUnit, DaemonUnit, RecoverUnit); err != nil {
		return err
	}
	if err := h.removeUnits(); err != nil {
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

func (h *Host) removePrograms() error {
	if err := h.unlinkCommands(); err != nil {
		return err
	}
	return h.remove(paths.Programs)
}

// removeDirs removes what can be made again, and with purge the rest. systemd preserves
// the runtime directories.
func (h *Host) removeDirs(purge bool) error {
	gone := []string{paths.System().Run, paths.RootRun, paths.Jails, paths.BootFiles, paths.System().Update()}
	if purge {
		gone = append(gone, paths.System().Cache, paths.System().Data, stateDir)
	}
	return h.remove(gone...)
}

// stopForwarding turns packet forwarding off again, unless another program may rely on
// it by now: Docker, libvirt and LXC find it on, and do not record that they need it.
// They have a bridge, and banger has none.
func (h *Host) stopForwarding(report Report) error {
	if others := h.bridges(); len(others) > 0 {
		report(fmt.Sprintf("packet forwarding stays on, as the network of %s may rely on it; to turn it off: sudo sysctl net.ipv4.ip_forward=0",
			strings.Join(others, ", ")))
		return nil
	}
	if err := os.WriteFile(h.path(ipForwardFile), []byte("0\n"), 0o644); err != nil {
		return api.Errorf(api.KindInternal, "cannot turn packet forwarding off again: %w", err)
	}
	return nil
}

// bridges returns the names of the machine's bridges: only bridges have this directory
// (net/bridge/br_sysfs_br.c in the kernel).
func (h *Host) bridges() []string {
	found, _ := filepath.Glob(h.path("/sys/class/net/*/bridge")) // only a bad pattern fails
	for i, path := range found {
		found[i] = filepath.Base(filepath.Dir(path))
	}
	return found
}

// removeRecord ends the installation.
func (h *Host) removeRecord(purge bool) error {
	if purge {
		return h.remove(paths.SystemConfig)
	}
	if err := h.remove(paths.InstallRecord); err != nil {
		return err
	}
	// The owner's settings stay, but an empty directory is removed.
	err := os.Remove(h.path(paths.SystemConfig))
	if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return api.AsError(err)
}

func (h *Host) remove(all ...string) error {
	for _, path := range all {
		if err := os.RemoveAll(h.path(path)); err != nil {
			return api.Errorf(api.KindInternal, "cannot remove %s: %w", path, err).
				WithHint("sudo banger system uninstall   continues where this one stopped")
		}
	}
	return nil
}

// left returns the existing directories of banger.
func (h *Host) left() []string {
	var left []string
	for _, path := range []string{paths.SystemConfig, paths.System().Data, paths.System().Cache} {
		if _, err := os.Lstat(h.path(path)); err == nil {
			left = append(left, path)
		}
	}
	return left
}
