package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/guest/filecopy"

	"github.com/spf13/cobra"
)

// fromRemote is `banger up --from`, or `vm run --from`.
type fromRemote struct{ *up }

// check refuses flags that are for files of the user's.
func (u fromRemote) check(cmd *cobra.Command) error {
	if !u.a.from.given() {
		return nil
	}
	for _, name := range []string{"write", "sync", "include-ignored"} {
		if cmd.Flags().Changed(name) {
			return usagef(cmd, "--%s is for files of yours, which --from has none of", name)
		}
	}
	u.ship.commit = true
	return nil
}

// open makes or renews the clone that --from asks for. A VM that is there keeps what it has, so
// for that nothing is fetched.
func (u fromRemote) open(ctx context.Context) error {
	w, r, err := u.a.from.open(ctx)
	if err != nil {
		return err
	}
	u.w = w
	unlock, err := w.Lock(ctx, u.a.waitingFor(w))
	if err != nil {
		return err
	}
	defer unlock()
	vms, err := u.keeps(ctx)
	if err != nil || len(vms) > 0 {
		return err
	}
	p := u.a.std.newProgress()
	if !u.quiet {
		u.a.std.note("fetching %s", r)
		r.Report = p.report
	}
	saved, err := w.Renew(ctx, r, u.ship.git())
	p.done()
	if err != nil {
		return err
	}
	if saved != "" {
		u.a.std.note("files in %s had changed: they are in %s there", filecopy.Quote(w.Repo.Top()), saved)
	}
	u.noteModules()
	return nil
}

// keeps returns the VMs of the workspace, if this command needs none of the newest.
func (u fromRemote) keeps(ctx context.Context) ([]api.VM, error) {
	if u.w.Repo == nil || u.fresh || u.single {
		return nil, nil
	}
	c, err := u.a.client()
	if err != nil {
		return nil, err
	}
	all, err := c.VMs().List(ctx)
	return u.w.Own(all), err
}

// noteModules says that submodules were not fetched.
func (u fromRemote) noteModules() {
	if _, err := os.Lstat(filepath.Join(u.w.Repo.Top(), ".gitmodules")); errors.Is(err, fs.ErrNotExist) {
		return
	}
	u.a.std.note("its submodules were not fetched: they are empty directories")
}

// noteSent says what a VM has of a remote.
func (u fromRemote) noteSent(ctx context.Context, vm api.VM, commit string) error {
	if u.quiet {
		return nil
	}
	// What was sent is recorded as a commit of its own, below the remote's.
	out, err := u.w.Repo.Git(ctx, nil, nil, "log", "-1", "--no-show-signature", "--format=%h of %cs", commit+"^")
	if err == nil {
		u.a.std.note("VM %s has commit %s: `%s` makes another of the newest", vm.Name, strings.TrimSpace(string(out)), u.a.from.typed(u.w, "banger up --new"))
	}
	return err
}
