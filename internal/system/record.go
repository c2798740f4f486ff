package system

import (
	"cmp"
	"context"
	"errors"
	"os"
	"syscall"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/system/record"
)

// recordFile is the install record on the disk.
type recordFile struct{ tree }

// read reads it, if there is one.
func (f recordFile) read() (record.Record, error) {
	return record.ReadOwned(f.path(paths.InstallRecord), f.superuser)
}

func (f recordFile) write(r record.Record) error {
	path := f.path(paths.InstallRecord)
	if err := r.Write(path); err != nil {
		return err
	}
	if err := f.chown(path, 0, 0); err != nil {
		return api.AsError(err)
	}
	return nil
}

// delete ends the installation.
func (f recordFile) delete(purge bool) error {
	if purge {
		return f.remove(paths.SystemConfig)
	}
	if err := f.remove(paths.InstallRecord); err != nil {
		return err
	}
	// The owner's settings stay, but an empty directory is removed.
	err := os.Remove(f.path(paths.SystemConfig))
	if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return api.AsError(err)
}

// plan decides about the owner and the uids and addresses of VMs. An existing
// installation keeps its own.
func (f recordFile) plan(ctx context.Context, o InstallOptions, who owners, packets forwarding) (record.Record, error) {
	old, err := f.read()
	installed := err == nil
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return old, err
	}
	owner := cmp.Or(o.Owner, old.Owner, o.Fallback)
	accounts, err := record.ReadAccounts(f.root)
	if err != nil {
		return old, err
	}
	user, err := who.find(ctx, accounts, owner)
	if err != nil {
		return old, err
	}
	if !installed {
		return newRecord(user, accounts, packets)
	}
	if old.Owner != user.Name {
		return old, api.Errorf(api.KindConflict, "cannot install for %s: this machine's banger belongs to %s", user.Name, old.Owner).
			WithHint("sudo banger system uninstall --purge   removes it and its VMs")
	}
	old.Home = user.Home
	return old, old.Check(user, accounts)
}

// newRecord is the record of a machine that has none.
func newRecord(user record.User, accounts record.Accounts, packets forwarding) (record.Record, error) {
	r := record.Record{
		Owner: user.Name, UID: user.UID, GID: user.GID, Home: user.Home,
		UIDCount: record.Slots, Network: defaultNetwork,
	}
	var err error
	if r.UIDBase, err = accounts.FreeRange(record.DefaultBase, record.Slots); err != nil {
		return r, err
	}
	r.IPForwardBefore, err = packets.state()
	return r, err
}
