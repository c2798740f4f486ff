package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/paths"
	"banger/internal/system/record"
)

// defaultNetwork is the range of the VMs' addresses. It is a private range (RFC 1918)
// that few machines use.
const defaultNetwork = "10.213.0.0/16"

// InstallOptions describe the installation.
type InstallOptions struct {
	Owner    string // the owner of the VMs; empty: unchanged, or Fallback
	Fallback string
	From     string // the directory with the programs
	Build    Build
}

// Install installs banger, or refreshes an installation, and returns when both daemons
// answer. VMs keep running. An installation that cannot work is refused before anything
// is changed.
func (h *Host) Install(ctx context.Context, o InstallOptions, report Report) (record.Record, error) {
	r, err := h.plan(ctx, o)
	if err != nil {
		return r, err
	}
	in := h.installation()
	report("making directories")
	if err := in.directories.create(r); err != nil {
		return r, err
	}
	release, err := in.updates.exclude(ctx, "install")
	if err != nil {
		return r, err
	}
	defer release()
	if err := in.updates.refuse("install"); err != nil { // an update may have started in the meantime
		return r, err
	}
	if now, err := in.forwarding.state(); err == nil && now == "0" {
		report("turning on packet forwarding with the root helper (net.ipv4.ip_forward): this machine then forwards packets for " +
			"all its networks, not for VMs only, unless its firewall forbids that")
	}
	before := in.programs.version()
	steps := []struct {
		says string
		do   func() error
	}{
		{"copying the programs of version " + r.Version, func() error { return in.programs.copy(o.From, r.Version) }},
		{"writing " + paths.InstallRecord, func() error { return in.record.write(r) }},
		{"writing systemd's units", func() error { return in.units.write(r) }},
		{"writing udev's rules", in.rules.write},
		{"switching to version " + r.Version, func() error { return in.programs.switchTo(r.Version) }},
		{"linking commands into " + paths.Commands, in.programs.linkCommands},
		{"starting " + HelperUnit + " and " + DaemonUnit, func() error { return in.daemons.enable(ctx) }},
	}
	for _, s := range steps {
		report(s.says)
		if err := s.do(); err != nil {
			return r, err
		}
	}
	return r, in.programs.prune(r.Version, before)
}

// plan checks everything that could refuse the installation and returns its record.
func (h *Host) plan(ctx context.Context, o InstallOptions) (record.Record, error) {
	if err := errors.Join(h.needRoot("install"), h.needSystemd()); err != nil {
		return record.Record{}, first(err)
	}
	if !record.ValidVersion(o.Build.Version) {
		return record.Record{}, api.Errorf(api.KindInvalid, "cannot install: %q is not a valid version", o.Build.Version)
	}
	in := h.installation()
	size, built, err := programsIn(o.From)
	if err != nil {
		return record.Record{}, err
	}
	for _, name := range commands.Names {
		if _, err := in.programs.ourCommand(name); err != nil {
			return record.Record{}, err
		}
	}
	for _, name := range unitNames {
		if _, err := in.units.oursNamed(name); err != nil {
			return record.Record{}, err
		}
	}
	if _, err := in.rules.present(); err != nil {
		return record.Record{}, err
	}
	if err := in.updates.refuse("install"); err != nil {
		return record.Record{}, err
	}
	if err := in.directories.needSpace(size + spareSpace); err != nil {
		return record.Record{}, err
	}
	r, err := in.record.plan(ctx, o, in.owners, in.forwarding)
	if err != nil {
		return r, err
	}
	r.Version, r.Commit, r.BuiltAt, r.InstalledAt = o.Build.Version, o.Build.Commit, built, h.Now().UTC().Truncate(time.Second)
	return r, in.directories.check(r)
}

// first returns the first of several joined errors: one is enough to act on.
func first(err error) error {
	var all interface{ Unwrap() []error }
	if errors.As(err, &all) {
		return all.Unwrap()[0]
	}
	return err
}

// Restart restarts both daemons and waits until they answer. VMs keep running.
func (h *Host) Restart(ctx context.Context, report Report) error {
	if err := errors.Join(h.needRoot("restart"), h.needSystemd()); err != nil {
		return first(err)
	}
	if _, err := h.Record(); err != nil {
		return err
	}
	m, err := h.Connect(ctx)
	if err != nil {
		return err
	}
	report(fmt.Sprintf("restarting %s and %s", HelperUnit, DaemonUnit))
	return h.installation().daemons.restart(ctx, m)
}
