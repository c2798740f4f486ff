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
	"banger/internal/host/fsx"
	"banger/internal/installlock"
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
	report("making directories")
	if err := h.makeDirs(r); err != nil {
		return r, err
	}
	release, err := h.withInstallLock(ctx, "install")
	if err != nil {
		return r, err
	}
	defer release()
	if err := h.noUpdate("install"); err != nil { // an update may have started in the meantime
		return r, err
	}
	if now, err := h.ipForward(); err == nil && now == "0" {
		report("turning on packet forwarding with the root helper (net.ipv4.ip_forward): this machine then forwards packets for " +
			"all its networks, not for VMs only, unless its firewall forbids that")
	}
	before := h.currentVersion()
	steps := []struct {
		says string
		do   func() error
	}{
		{"copying the programs of version " + r.Version, func() error { return h.copyPrograms(o.From, r.Version) }},
		{"writing " + paths.InstallRecord, func() error { return h.writeRecord(r) }},
		{"writing systemd's units", func() error { return h.writeUnits(r) }},
		{"writing udev's rules", h.writeRules},
		{"switching to version " + r.Version, func() error { return h.switchTo(r.Version) }},
		{"linking commands into " + paths.Commands, h.linkCommands},
		{"starting " + HelperUnit + " and " + DaemonUnit, func() error { return h.startUnits(ctx) }},
	}
	for _, s := range steps {
		report(s.says)
		if err := s.do(); err != nil {
			return r, err
		}
	}
	return r, h.prune(r.Version, before)
}

// plan checks everything that could refuse the installation and returns its record.
func (h *Host) plan(ctx context.Context, o InstallOptions) (record.Record, error) {
	if err := errors.Join(h.needRoot("install"), h.needSystemd()); err != nil {
		return record.Record{}, first(err)
	}
	if !record.ValidVersion(o.Build.Version) {
		return record.Record{}, api.Errorf(api.KindInvalid, "cannot install: %q is not a valid version", o.Build.Version)
	}
	size, built, err := programsIn(o.From)
	if err != nil {
		return record.Record{}, err
	}
	for _, name := range commands {
		if _, err := h.ourCommand(name); err != nil {
			return record.Record{}, err
		}
	}
	for _, name := range unitNames {
		if _, err := h.ourUnit(name); err != nil {
			return record.Record{}, err
		}
	}
	if _, err := h.ourRules(); err != nil {
		return record.Record{}, err
	}
	if err := h.noUpdate("install"); err != nil {
		return record.Record{}, err
	}
	if err := h.needSpace(size + spareSpace); err != nil {
		return record.Record{}, err
	}
	r, err := h.planRecord(ctx, o)
	if err != nil {
		return r, err
	}
	r.Version, r.Commit, r.BuiltAt, r.InstalledAt = o.Build.Version, o.Build.Commit, built, h.Now().UTC().Truncate(time.Second)
	return r, h.checkData(r)
}

// withInstallLock excludes updates and other installations until release is called. If
// the lock's directory does not exist, there is nothing to update.
func (h *Host) withInstallLock(ctx context.Context, verb string) (release func(), err error) {
	dir := h.path(paths.System().Update())
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	release, err = installlock.Take(ctx, filepath.Join(dir, "lock"), installlock.Installation, false)
	var held *installlock.HeldError
	if errors.As(err, &held) {
		return nil, api.Errorf(api.KindConflict, "cannot %s: %w", verb, held).WithHint("wait until it has ended")
	}
	return release, fsx.DiskError(verb, err)
}

// noUpdate refuses to interfere with an update that has not ended.
func (h *Host) noUpdate(verb string) error {
	if _, err := os.Lstat(h.path(paths.System().Update() + "/journal.json")); err != nil {
		return nil
	}
	return api.Errorf(api.KindConflict, "cannot %s: an update has not ended", verb).
		WithHint("sudo banger update   shows its state, and finishes an interrupted one")
}

// first returns the first of several joined errors: one is enough to act on.
func first(err error) error {
	var all interface{ Unwrap() []error }
	if errors.As(err, &all) {
		return all.Unwrap()[0]
	}
	return err
}

// planRecord decides about the owner and the uids and addresses of VMs. An existing
// installation keeps its own.
func (h *Host) planRecord(ctx context.Context, o InstallOptions) (record.Record, error) {
	old, err := h.record()
	installed := err == nil
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return old, err
	}
	owner := cmp.Or(o.Owner, old.Owner, o.Fallback)
	accounts, err := record.ReadAccounts(h.Root)
	if err != nil {
		return old, err
	}
	user, err := h.planOwner(ctx, accounts, owner)
	if err != nil {
		return old, err
	}
	if !installed {
		return h.newRecord(user, accounts)
	}
	if old.Owner != user.Name {
		return old, api.Errorf(api.KindConflict, "cannot install for %s: this machine's banger belongs to %s", user.Name, old.Owner).
			WithHint("sudo banger system uninstall --purge   removes it and its VMs")
	}
	old.Home = user.Home
	return old, old.Check(user, accounts)
}

func (h *Host) newRecord(user record.User, accounts record.Accounts) (record.Record, error) {
	r := record.Record{
		Owner: user.Name, UID: user.UID, GID: user.GID, Home: user.Home,
		UIDCount: record.Slots, Network: defaultNetwork,
	}
	var err error
	if r.UIDBase, err = accounts.FreeRange(record.DefaultBase, record.Slots); err != nil {
		return r, err
	}
	r.IPForwardBefore, err = h.ipForward()
	return r, err
}

// planOwner refuses owners for which the daemon could not run.
func (h *Host) planOwner(ctx context.Context, accounts record.Accounts, name string) (record.User, error) {
	if name == "" {
		return record.User{}, api.Errorf(api.KindInvalid, "cannot install: the owner of the VMs is missing").
			WithHint("sudo banger system install --owner USER")
	}
	user, err := h.lookup(ctx, accounts, name)
	if err != nil {
		return user, err
	}
	if user.UID == 0 || user.GID == 0 {
		return user, api.Errorf(api.KindInvalid, "cannot install for %s: the daemon never runs as root; root can use the VMs of any owner", name).
			WithHint("sudo banger system install --owner USER   with an ordinary user, such as one of: sudo useradd --create-home banger")
	}
	if info, err := os.Stat(h.path(user.Home)); err != nil || !info.IsDir() {
		return user, api.Errorf(api.KindInvalid, "cannot install for %s: the home directory %s does not exist", name, user.Home).
			WithHint("sudo mkhomedir_helper %s", name)
	}
	return user, nil
}

const ipForwardFile = "/proc/sys/net/ipv4/ip_forward"

func (h *Host) ipForward() (string, error) {
	data, err := os.ReadFile(h.path(ipForwardFile))
	if err != nil {
		return "", api.Errorf(api.KindUnsupported, "cannot find out whether this machine forwards packets: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// ownerDirs belong to the owner, and an uninstallation keeps them.
func ownerDirs() []string { return []string{paths.System().Data, paths.System().Cache} }

// checkData refuses to give one user's VMs to another.
func (h *Host) checkData(r record.Record) error {
	for _, dir := range ownerDirs() {
		info, err := os.Lstat(h.path(dir))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return api.AsError(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != r.UID && int(st.Uid) != h.Superuser {
			return api.Errorf(api.KindConflict, "cannot install for %s: %s is left from an installation for uid %d", r.Owner, dir, st.Uid).
				WithHint("sudo banger system uninstall --purge   removes it")
		}
	}
	return nil
}

// needSpace checks the file systems that are written to.
func (h *Host) needSpace(n int64) error {
	for _, dir := range []string{"/usr/local", "/etc", "/var"} {
		if err := fsx.NeedSpace(h.path(dir), n); err != nil {
			if api.KindOf(err) == api.KindNoSpace {
				return api.Errorf(api.KindNoSpace, "cannot install: %w", err).WithHint("df -h %s", dir)
			}
			return api.AsError(err)
		}
	}
	return nil
}

func (h *Host) makeDirs(r record.Record) error {
	for _, d := range []struct {
		path     string
		mode     os.FileMode
		uid, gid int
	}{
		{paths.SystemConfig, 0o755, 0, 0},
		{stateDir, 0o755, 0, 0},
		{paths.Jails, 0o711, 0, 0}, // a jail's user has to traverse it
		{paths.BootFiles, 0o755, 0, 0},
		{paths.System().Update(), 0o700, 0, 0},
		{paths.System().Data, 0o700, r.UID, r.GID},
		{paths.System().Cache, 0o700, r.UID, r.GID},
	} {
		if err := h.makeDir(d.path, d.mode, d.uid, d.gid); err != nil {
			return err
		}
	}
	return nil
}

const stateDir = "/var/lib/banger"

func (h *Host) writeRecord(r record.Record) error {
	path := h.path(paths.InstallRecord)
	if err := r.Write(path); err != nil {
		return err
	}
	if err := h.Chown(path, 0, 0); err != nil {
		return api.AsError(err)
	}
	return nil
}

// startUnits starts or restarts both daemons.
func (h *Host) startUnits(ctx context.Context) error {
	m, err := h.Connect(ctx)
	if err != nil {
		return err
	}
	if err := m.Reload(ctx); err != nil {
		return err
	}
	if err := m.Enable(ctx, HelperUnit, DaemonUnit, RecoverUnit); err != nil {
		return err
	}
	return h.restart(ctx, m)
}

// answerTime bounds the first request to a daemon that reported that it was ready.
const answerTime = 20 * time.Second

// restart restarts the helper, then the daemon, and waits until each answers.
func (h *Host) restart(ctx context.Context, m Manager) error {
	if err := h.restartUnit(ctx, m, HelperUnit, h.AskHelper); err != nil {
		return err
	}
	return h.restartUnit(ctx, m, DaemonUnit, h.AskDaemon)
}

func (h *Host) restartUnit(ctx context.Context, m Manager, unit string, ask func(context.Context) (Answer, error)) error {
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

// Restart restarts both daemons and waits until they answer. VMs keep running.
func (h *Host) Restart(ctx context.Context, report Report) error {
	if err := errors.Join(h.needRoot("restart"), h.needSystemd()); err != nil {
		return first(err)
	}
	if _, err := h.record(); err != nil {
		return err
	}
	m, err := h.Connect(ctx)
	if err != nil {
		return err
	}
	report(fmt.Sprintf("restarting %s and %s", HelperUnit, DaemonUnit))
	return h.restart(ctx, m)
}
