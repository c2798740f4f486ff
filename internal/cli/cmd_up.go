package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/config"
	"banger/internal/faultpoint"
	"banger/internal/guest/filecopy"
	"banger/internal/workspace"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/feature"
	"banger/internal/workspace/project"

	"github.com/spf13/cobra"
)

// up is one `banger up`.
type up struct {
	a       *app
	flags   vmFlags
	how     command
	ship    shipFlags
	detach  bool
	sync    bool
	fresh   bool
	force   bool
	quiet   bool
	allow   bool
	setUp   bool
	single  bool // of `vm run PATH`: the VM becomes no workspace's
	write   bool
	dryRun  bool
	w       *workspace.Workspace
	project project.Config
	guessed bool // project is a guess
	// container describes the VM, if banger.toml does not.
	container devcontainer.Result
	features  *feature.Set            // of container, once they are needed
	installed *devcontainer.Installed // what this command has installed of them
	started   bool                    // the VM was started by this command
	dir       string                  // of the files in the guest
	once      []string                // flags that were given, and count for a new VM alone
	cache     setupCache
	// explained says where project is from, once, before it counts.
	explained func()
}

func newUp(a *app) *cobra.Command {
	u := up{a: a}
	u.cache.u = &u
	cmd := &cobra.Command{
		Use:   "up [PATH] [-- COMMAND [ARGUMENT...]]",
		Short: "Work on a repository or folder in a VM of its own",
		Long: `Work on the repository that PATH is in, or on that folder, in a VM of its own. PATH
is the working directory by default. The first time, this makes the VM, sends the
files into it, and runs the setup. Then, and each time after, it opens a shell there,
or runs COMMAND. "banger down" stops the VM; "banger work" shows what has changed in
it, and takes that back.

The files go as they lie: tracked ones, and untracked ones that git does not ignore.
They are sent once; --sync keeps both sides the same while the shell is open, as
"banger sync" does. The guest gets a fresh .git
with the newest history, without your hooks, credentials or settings of git. It
needs no git itself. What is sent is first a commit below refs/banger; your index,
stash, branches and files are not touched.

--from works on a repository that you have no work tree of: banger clones REMOTE into
a directory of its own, with your git, and sends the newest commit. The same REMOTE is
the same VM again, with what it has; --new fetches.

banger.toml at the top of the repository says what the VM is like
(docs/workspace.md). Without one, banger guesses from files such as go.mod and
package.json, and says what; --write makes a banger.toml of that.

A setup that took 10 seconds or more is kept as an image, with which the next VM of the
workspace begins. "banger image list" shows it.`,
		Example: `  cd project && banger up
  banger up -- go test ./...
  banger up ~/src/project --memory 4G -d
  banger up --from https://github.com/someone/project#main
  banger up --dry-run`,
		Args: func(cmd *cobra.Command, args []string) error {
			_, _, err := pathAndCommand(cmd, args)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error { return u.run(cmd, args) },
	}
	u.flags.flags(a, cmd)
	u.how.flags(cmd)
	u.ship.flags(cmd)
	f := cmd.Flags()
	a.from.flag(f)
	f.SetInterspersed(true) // flags may follow PATH; what follows -- is the command's
	f.BoolVarP(&u.detach, "detach", "d", false, "print the VM's name, and open no shell")
	f.BoolVar(&u.sync, "sync", false, "keep the files here and in the VM the same while the shell or the command runs")
	f.BoolVar(&u.fresh, "new", false, "make another VM, which is the workspace's from now on; the former ones stay")
	f.BoolVar(&u.allow, "allow", false, "confirm what banger.toml asks of this host")
	f.BoolVar(&u.setUp, "setup", false, "run the setup again")
	f.BoolVar(&u.cache.always, "cache", false, "keep the result of the setup for the next VM, however short it is")
	f.BoolVar(&u.write, "write", false, "write what banger guesses to banger.toml, and do nothing else")
	f.BoolVar(&u.dryRun, "dry-run", false, "list what would be sent, and what looks like a secret, and do nothing else")
	f.BoolVarP(&u.quiet, "quiet", "q", false, "print no progress")
	forceMemory(cmd, &u.force)
	return cmd
}

func (u *up) run(cmd *cobra.Command, args []string) error {
	path, argv, err := pathAndCommand(cmd, args)
	if err != nil {
		return err
	}
	if u.sync && u.detach {
		return usagef(cmd, "--sync is for as long as a shell or command runs: use --detach without it, and banger sync --watch")
	}
	if u.sync && u.ship.commit {
		return usagef(cmd, "--sync sends what is not committed: use --commit without it")
	}
	exec, err := u.how.exec(u.a, cmd, argv)
	if err != nil {
		return err
	}
	if err := errors.Join(u.a.from.alone(cmd, len(args)-len(argv)), fromRemote{u}.check(cmd)); err != nil {
		return err
	}
	if err := u.open(cmd, path); err != nil {
		return own(err)
	}
	switch {
	case u.write:
		return own(u.writeProject())
	case u.dryRun:
		return own(u.listShipment(cmd.Context()))
	}
	req, err := u.flags.request(u.a, cmd)
	if err != nil {
		return err
	}
	if err := u.confirm(cmd.Context()); err != nil {
		return own(err)
	}
	u.once = onceFlags(cmd)
	c, err := u.a.client()
	if err != nil {
		return own(err)
	}
	vm, err := u.prepare(cmd.Context(), c, req)
	if err != nil {
		return own(err)
	}
	if u.detach {
		_, err := fmt.Fprintln(u.a.std.out, vm.Name)
		return err
	}
	run := func() error { return u.a.sessions().run(cmd.Context(), c.Guest(vm.ID), u.inside(exec)) }
	if !u.sync {
		return run()
	}
	return u.a.syncing(u.w, c, vm, u.dir).during(cmd.Context(), run)
}

// pathAndCommand separates the two: the command is what follows --.
func pathAndCommand(cmd *cobra.Command, args []string) (path string, argv []string, err error) {
	paths := args
	if at := cmd.ArgsLenAtDash(); at >= 0 {
		paths, argv = args[:at], args[at:]
	}
	switch len(paths) {
	case 0:
		return ".", argv, nil
	case 1:
		return paths[0], argv, nil
	}
	return "", nil, usagef(cmd, "%s takes one directory: write the command after --", cmd.CommandPath())
}

// open finds the workspace and what it says about its VM.
func (u *up) open(cmd *cobra.Command, path string) (err error) {
	if u.a.from.given() {
		err = fromRemote{u}.open(cmd.Context())
	} else {
		u.w, err = u.a.openWorkspace(cmd.Context(), path)
	}
	if err != nil {
		return err
	}
	if err := u.describe(u.w.Repo.Top()); err != nil {
		return err
	}
	u.dir = u.project.Dir(u.w.Repo.Top())
	u.ship.include(u.project.Sync)
	return nil
}

// describe reads banger.toml, or without one devcontainer.json, or guesses.
func (u *up) describe(top string) error {
	u.explained = func() {}
	says, found, err := project.Load(top)
	if found || err != nil || u.write {
		u.project = says
		return err
	}
	container, found, err := devcontainer.Load(top)
	if found || err != nil {
		u.project, u.container = container.Config, container
		if err == nil {
			u.explained = sync.OnceFunc(func() { u.explainSkipped(container) })
		}
		return err
	}
	guess, err := project.Look(top, config.DetectHost())
	u.project, u.guessed = guess.Config, true
	u.explained = sync.OnceFunc(func() { u.explain(guess) })
	return err
}

// confirm refuses what the workspace's file asks of the host, unless the user has agreed to that.
func (u *up) confirm(ctx context.Context) error {
	allowed, err := project.OpenAllowed(u.w.Allowed())
	if err != nil {
		return err
	}
	network, err := u.ownNetwork(ctx)
	if err != nil {
		return err
	}
	reach := u.project.Reach(u.w.Repo.Top(), network)
	needs := reach.Needs(allowed)
	switch {
	case len(needs) == 0:
		return nil
	case u.allow:
		return allowed.Allow(reach, time.Now())
	}
	return api.Errorf(api.KindDenied, "cannot use %s: it asks for more than the VM:\n  it %s", cmp.Or(u.container.File, project.Name), strings.Join(needs, "\n  it ")).
		WithHint("%s --allow   if you agree; you are asked again when that changes", u.command())
}

// ownNetwork is the network that a VM has by the user's settings, if banger.toml asks for one.
func (u *up) ownNetwork(ctx context.Context) (string, error) {
	if u.project.Network == "" {
		return "", nil
	}
	c, err := u.a.client()
	if err != nil {
		return "", err
	}
	shown, _, err := u.a.settings(ctx, c, "", "")
	if valueOf(shown, "network") == "" && valueOf(shown, "nat") == "false" {
		return api.NetworkIsolated, err
	}
	return cmp.Or(valueOf(shown, "network"), api.NetworkNAT), err
}

// prepare makes sure that the VM runs, has the files, and is set up.
func (u *up) prepare(ctx context.Context, c *client.Client, req api.CreateVM) (api.VM, error) {
	unlock, err := u.w.Lock(ctx, u.a.waitingFor(u.w))
	if err != nil {
		return api.VM{}, err
	}
	defer unlock()
	defer u.closeFeatures()
	vm, err := u.machine(ctx, c, req)
	if err != nil {
		return vm, err
	}
	faultpoint.Reach("up", "machine")
	err = u.fill(ctx, c, vm)
	faultpoint.Reach("up", "filled")
	return vm, err
}

// compare says if the files here are others than those in the VM: a test there would be one of
// former files.
func (u *up) compare(ctx context.Context, vm api.VM, s workspace.Shipment) error {
	if u.sync {
		return s.CheckSync()
	}
	if u.a.from.given() {
		return fromRemote{u}.noteSent(ctx, vm, s.Commit)
	}
	changed, err := u.w.HostChanges(ctx, s)
	switch n := len(changed); {
	case n > 0 && s.Committed:
		u.a.std.note("%s", changedInHEAD(n))
	case n > 0:
		u.a.std.note("%s: banger sync, or banger up --sync, brings both sides together", changedHere(n))
	}
	return err
}

// machine returns the workspace's VM, running: an existing one, or a new one.
func (u *up) machine(ctx context.Context, c *client.Client, req api.CreateVM) (api.VM, error) {
	all, err := settledVMs(ctx, u.a, c, u.w, u.report)
	if err != nil {
		return api.VM{}, err
	}
	if err := u.w.Forget(all); err != nil {
		return api.VM{}, err
	}
	vms := u.w.Own(all)
	if u.fresh || len(vms) == 0 {
		if err := u.w.Check(ctx, u.ship.selection(), u.ship.git()); err != nil {
			return api.VM{}, err
		}
		u.explained()
		if err := (dockerfile{u, c, req}).image(ctx); err != nil {
			return api.VM{}, err
		}
		return u.create(ctx, c, req, all)
	}
	vm := vms[len(vms)-1]
	if len(vms) > 1 {
		u.a.std.note("%s has %d VMs; this is the newest, %s", filecopy.Quote(u.w.Name()), len(vms), vm.Name)
	}
	if len(u.once) > 0 {
		u.a.std.note("VM %s exists already, so this has no effect: %s; banger vm set changes a VM, and banger up --new makes another", vm.Name, strings.Join(u.once, ", "))
	}
	if err := u.cache.settle(ctx, c, vm); err != nil || vm.State == api.StateRunning {
		return vm, err
	}
	p := u.a.std.newProgress()
	defer p.done()
	if vm.State == api.StatePaused {
		return c.VMs().Resume(ctx, vm.ID, u.report(p))
	}
	u.started = true
	return c.VMs().Start(ctx, vm.ID, api.StartVM{Force: u.force}, u.report(p))
}

func (u *up) create(ctx context.Context, c *client.Client, req api.CreateVM, all []api.VM) (api.VM, error) {
	req = u.project.Request(req)
	if req.Name == "" {
		req.Name = freeName(filepath.Base(u.w.Repo.Top()), all)
	}
	if req.Labels == nil {
		req.Labels = map[string]string{}
	}
	if !u.single {
		req.Labels[workspace.Label] = u.w.Label()
	}
	req.Start, req.Force = true, u.force
	u.started = true
	u.explained()
	u.cache.off = u.ship.noCache
	if vm, ok, err := u.cache.create(ctx, c, req); ok || err != nil {
		return vm, err
	}
	if err := u.getFeatures(ctx, c); err != nil {
		return api.VM{}, err
	}
	u.cache.fresh = true
	return createVM(ctx, c, u, req)
}

func (u *up) report(p *progress) api.Report {
	if u.quiet {
		return nil
	}
	return p.report
}
