package system

import (
	"context"
	"os"

	"banger/api"
	"banger/internal/system/record"
)

// owners finds the accounts that VMs can belong to.
type owners struct {
	tree
	getent func(ctx context.Context, name string) (string, error) // see Host
}

// find refuses owners for which the daemon could not run.
func (o owners) find(ctx context.Context, accounts record.Accounts, name string) (record.User, error) {
	if name == "" {
		return record.User{}, api.Errorf(api.KindInvalid, "cannot install: the owner of the VMs is missing").
			WithHint("sudo banger system install --owner USER")
	}
	user, err := o.lookup(ctx, accounts, name)
	if err != nil {
		return user, err
	}
	if user.UID == 0 || user.GID == 0 {
		return user, api.Errorf(api.KindInvalid, "cannot install for %s: the daemon never runs as root; root can use the VMs of any owner", name).
			WithHint("sudo banger system install --owner USER   with an ordinary user, such as one of: sudo useradd --create-home banger")
	}
	if info, err := os.Stat(o.path(user.Home)); err != nil || !info.IsDir() {
		return user, api.Errorf(api.KindInvalid, "cannot install for %s: the home directory %s does not exist", name, user.Home).
			WithHint("sudo mkhomedir_helper %s", name)
	}
	return user, nil
}

// lookup finds the owner's account.
func (o owners) lookup(ctx context.Context, a record.Accounts, name string) (record.User, error) {
	unknown := api.Errorf(api.KindInvalid, "cannot install for %q: no such user exists", name).WithHint("getent passwd   lists the users")
	if !record.ValidOwner(name) {
		return record.User{}, unknown
	}
	if u, ok := a.Lookup(name); ok {
		return u, nil
	}
	line, err := o.getent(ctx, name)
	if err != nil {
		return record.User{}, err
	}
	if u, ok := record.ParseUser(line); ok && u.Name == name {
		return u, nil
	}
	return record.User{}, unknown
}
