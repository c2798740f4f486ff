package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/guest/filecopy"
	"banger/internal/workspace/review"

	"github.com/spf13/cobra"
)

// runPath is `vm run PATH`: up, in a VM that no workspace has.
func (r *runVM) runPath(cmd *cobra.Command, path string, argv []string) error {
	switch {
	case r.detach:
		return usagef(cmd, "--detach and a directory exclude each other: banger up -d   leaves a VM with the files running")
	case cmd.Flags().Changed("entrypoint"):
		return usagef(cmd, "--entrypoint and a directory exclude each other: the command runs in the directory as it is")
	}
	u := &up{a: r.a, flags: r.flags, how: r.how, ship: r.ship, force: r.force, quiet: r.quiet, allow: r.allow, single: true}
	u.cache.u = u
	exec, err := u.how.exec(u.a, cmd, argv)
	if err != nil {
		return err
	}
	req, err := u.flags.request(u.a, cmd)
	if err != nil {
		return err
	}
	if err := (fromRemote{u}).check(cmd); err != nil {
		return err
	}
	if err := u.open(cmd, path); err != nil {
		return own(err)
	}
	if err := u.confirm(cmd.Context()); err != nil {
		return own(err)
	}
	c, err := u.a.client()
	if err != nil {
		return own(err)
	}
	began := time.Now()
	vm, err := u.makeSingle(cmd.Context(), c, req)
	if err != nil {
		return own(err)
	}
	err = u.fill(cmd.Context(), c, vm)
	started := time.Now()
	if err == nil {
		err = u.a.sessions().run(cmd.Context(), c.Guest(vm.ID), u.inside(exec))
	} else {
		err = own(err)
	}
	ended := time.Now()
	r.endPath(cmd.Context(), c, u, vm, err)
	if r.timing {
		r.printTiming(vm.Timing, started.Sub(began), ended.Sub(started), time.Since(ended))
	}
	return err
}

// makeSingle makes the VM of a `vm run PATH`. The lock keeps two of them from the same name.
func (u *up) makeSingle(ctx context.Context, c *client.Client, req api.CreateVM) (api.VM, error) {
	if err := u.w.Check(ctx, u.ship.selection(), u.ship.git()); err != nil {
		return api.VM{}, err
	}
	unlock, err := u.w.Lock(ctx, u.a.waitingFor(u.w))
	if err != nil {
		return api.VM{}, err
	}
	defer unlock()
	all, err := c.VMs().List(ctx)
	if err == nil {
		err = u.w.Forget(all)
	}
	if err == nil {
		err = (dockerfile{u, c, req}).image(ctx)
	}
	if err != nil {
		return api.VM{}, err
	}
	return u.create(ctx, c, req, all)
}

// lastTime bounds what happens at the end of `vm run --rm PATH` before the VM is deleted.
const lastTime = 10 * time.Minute

// endPath ends a `vm run PATH`: with --rm the VM is deleted, once this host has what the guest has
// made of the files. The lease of other VMs of --rm, which removes them if this program is killed,
// would not wait for that.
func (r *runVM) endPath(ctx context.Context, c *client.Client, u *up, vm api.VM, result error) {
	switch {
	case !r.rm:
		r.printReturnHint(vm.Name)
		return
	case errors.Is(result, errDetached):
		r.a.std.note("VM %s keeps running, and is not deleted: it has the files; banger vm delete -f %s   deletes both", vm.Name, vm.Name)
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	err := u.keepWork(last, c, vm)
	if err != nil {
		r.a.std.printError(err)
		r.a.std.note("VM %s was not deleted: it may have work that is nowhere else; banger vm delete -f %s   deletes it", vm.Name, vm.Name)
		return
	}
	err = r.remove(last, c, vm.ID)
	if err == nil {
		err = u.w.ForgetVM(vm.ID)
	}
	if err != nil {
		r.a.std.printError(err)
	}
}

// keepWork makes a snapshot of the files that the guest has changed, and prints its name.
func (u *up) keepWork(ctx context.Context, c *client.Client, vm api.VM) error {
	s, known, err := u.w.Shipment(vm.ID)
	if err != nil || !known || !s.Done {
		return err // without files no command has worked on them
	}
	now, err := c.VMs().Show(ctx, vm.ID)
	if err != nil {
		return err
	}
	if now.State != api.StateRunning {
		return api.Errorf(api.KindConflict, "cannot see whether VM %s has changed files: it is %s", vm.Name, now.State).
			WithHint("banger vm start %s; banger vm cp %s:%s DIRECTORY   copies the files", vm.Name, vm.Name, s.Directory)
	}
	result, err := u.w.Collect(ctx, c.Guest(vm.ID), s)
	if err != nil {
		return err
	}
	for _, path := range result.Submodules {
		err = errors.Join(err, api.Errorf(api.KindConflict, "the submodule %s has changed, and changes of submodules are not taken", filecopy.Quote(path)))
	}
	if err != nil {
		return err
	}
	for _, w := range result.Warnings {
		u.a.std.note("%s: %s", filecopy.Quote(w.Path), w.Text)
	}
	if err := u.keepCommits(ctx, c, work{Workspace: u.w, vm: now, shipment: s}); err != nil {
		return err
	}
	changes, err := review.Changes(ctx, u.w.Repo, s.Commit, result.Commit)
	if err != nil || len(changes) == 0 {
		return err
	}
	return u.sayKept(ctx, s.Series, s.Commit, result.Commit, len(changes))
}

// keepCommits fetches the commits of the guest's branches, if it has any that it was not sent.
func (u *up) keepCommits(ctx context.Context, c *client.Client, w work) error {
	if u.w.Repo.Folder() {
		return nil
	}
	argv := []string{"git", "rev-list", "--max-count=1", "--branches"}
	head, err := u.w.Repo.Git(ctx, nil, nil, "rev-list", "--parents", "--max-count=1", w.shipment.Commit)
	if err != nil {
		return err
	}
	if parents := strings.Fields(string(head)); len(parents) > 1 {
		argv = append(argv, "--not", parents[1])
	}
	session, err := c.Guest(w.vm.ID).Exec(ctx, api.Exec{Argv: argv, Dir: w.shipment.Directory, User: w.shipment.User})
	if err != nil {
		return err
	}
	defer session.Close()
	_ = session.Stdin.Close()                                  // it reads nothing
	go func() { _, _ = io.Copy(io.Discard, session.Stderr) }() // ends with the session
	const some = 100                                           // bytes; an id has 64 at most
	found, err := io.ReadAll(io.LimitReader(session.Stdout, some))
	if err != nil || len(found) == 0 {
		return err // also a guest without git, or without a repository
	}
	return u.a.fetch(ctx, c, w, u.a.std.err)
}

// sayKept says how to look at the snapshots of before and after.
func (u *up) sayKept(ctx context.Context, series, sent, guest string, changes int) error {
	all, err := u.w.Repo.Snapshots(ctx, series)
	if err != nil {
		return err
	}
	from, to := sent, guest
	for _, c := range all {
		switch c.ID {
		case sent:
			from = c.Ref
		case guest:
			to = c.Ref
		}
	}
	git := u.a.from.git(u.w)
	if u.w.Repo.Folder() {
		dir, err := u.w.Repo.Git(ctx, nil, nil, "rev-parse", "--absolute-git-dir")
		if err != nil {
			return err
		}
		git = "git --git-dir=" + filecopy.Quote(strings.TrimSpace(string(dir)))
	}
	u.a.std.note("what has changed in the VM (%s) is in %s: `%s diff %s %s`", plural(changes, "file"), to, git, from, to)
	return nil
}
