package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/imageconfig"

	"github.com/spf13/cobra"
)

// removeTime bounds the removal of a VM at the end of `vm run --rm`.
const removeTime = time.Minute

// nothingLeft is part of the error of a cancelled operation that was undone.
const nothingLeft = "nothing is left"

// runVM is one `vm run`.
type runVM struct {
	a              *app
	flags          vmFlags
	how            command
	entrypoint     string
	rm             bool
	detach, timing bool
	force, quiet   bool
	ship           shipFlags
	allow          bool // of a directory's banger.toml
}

func newVMRun(a *app) *cobra.Command {
	r := runVM{a: a}
	cmd := &cobra.Command{
		Use:   "run [PATH] [-- COMMAND [ARGUMENT...]]",
		Short: "Create a VM, start it, and run a shell or a command in it",
		Long: `Create a VM, start it, and run a shell or a command in it. The exit status is the
command's, 128 plus the signal's number if a signal ended it, or 125 if banger
itself failed. The VM keeps running afterwards, unless --rm is given. Ctrl-C
while it is starting removes it.

The image's configuration applies. Without a command its Entrypoint and Cmd run,
if it has any. A command replaces its Cmd: with an Entrypoint, it becomes the
arguments of that program. --entrypoint replaces both; if it is empty, COMMAND
itself runs, or a shell. The image's Env, User and WorkingDir apply unless flags
override them.

With PATH, a directory, its repository or folder is sent into the VM, which is set up
as with "banger up", and the shell or COMMAND runs there. Each time it is another VM,
and "banger work" does not know it. With --rm, files that have changed in the VM become
a snapshot below refs/banger before the VM is deleted, and commits become branches as
with "banger work fetch". If that fails, the VM stays. Files that git ignores are
deleted with it.

With --detach the command runs in the background without a terminal: "banger vm
logs" shows its output, and each start of the VM starts it again. If there is no
command, the VM waits for "banger vm exec".

With --snapshot the VM does not boot: it begins with what "banger snapshot create" has
kept of another one, and COMMAND runs beside the programs that ran there.`,
		Example: `  banger vm run
  banger vm run --rm -- uname -a
  banger vm run --rm ~/src/project -- make test
  banger vm run --name dev --memory 4G --disk 20G
  banger vm run --image web
  banger vm run --profile build -- make
  banger vm run --image web --entrypoint '' -- id
  name=$(banger vm run -d)
  banger vm run -d --name site --image web
  banger vm run --snapshot before`,
		Args: func(cmd *cobra.Command, args []string) error {
			_, _, err := pathAndCommand(cmd, args)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path, argv, err := pathAndCommand(cmd, args)
			directories := len(args) - len(argv)
			if err := errors.Join(err, a.from.alone(cmd, directories)); err != nil {
				return err
			}
			if r.flags.snapshot != "" && (directories > 0 || a.from.given()) {
				return usagef(cmd, "--snapshot and a directory exclude each other")
			}
			if directories > 0 || a.from.given() {
				return r.runPath(cmd, path, argv)
			}
			return r.run(cmd, argv)
		},
	}
	r.flags.flags(a, cmd)
	r.flags.snapshotFlag(cmd)
	r.how.flags(cmd)
	r.ship.flags(cmd)
	f := cmd.Flags()
	a.from.flag(f)
	f.SetInterspersed(true) // flags may follow PATH; what follows -- is the command's
	f.BoolVar(&r.allow, "allow", false, "confirm what the banger.toml of PATH asks of this host")
	f.StringVar(&r.entrypoint, "entrypoint", "", "`PROGRAM` to run instead of the image's Entrypoint and Cmd; empty: neither")
	f.BoolVar(&r.rm, "rm", false, "delete the VM at the end")
	f.BoolVarP(&r.detach, "detach", "d", false, "print the VM's name and leave it running, with its command in the background")
	forceMemory(cmd, &r.force)
	f.BoolVarP(&r.quiet, "quiet", "q", false, "print neither what the VM is like nor the progress of its start")
	f.BoolVar(&r.timing, "timing", false, "print how long each step took")
	return cmd
}

// request reads the flags: what VM is asked for, and what runs in it.
func (r *runVM) request(cmd *cobra.Command, argv []string) (req api.CreateVM, exec api.Exec, err error) {
	if given := shipFlagsGiven(cmd); given != "" {
		return req, exec, usagef(cmd, "--%s needs a directory", given)
	}
	if r.detach && r.how.tty {
		return req, exec, usagef(cmd, "--detach and --tty exclude each other")
	}
	if exec, err = r.how.exec(r.a, cmd, argv); err != nil {
		return req, exec, err
	}
	if req, err = r.flags.request(r.a, cmd); err != nil {
		return req, exec, err
	}
	req.Start, req.AutoRemove, req.Lease = true, r.rm, r.rm && !r.detach
	req.Force = r.force
	switch {
	case r.detach && r.flags.snapshot != "" && (len(argv) > 0 || r.program(cmd) != nil):
		return req, exec, usagef(cmd, "a VM that begins with a snapshot runs no command at each start: use banger vm exec --detach")
	case r.detach && r.flags.snapshot == "":
		req.Background = &api.Background{Argv: exec.Argv, Entrypoint: r.program(cmd), Env: exec.Env, Dir: exec.Dir, User: exec.User}
	}
	return req, exec, nil
}

// program returns what is to run instead of the image's Entrypoint and Cmd, nil for these.
func (r *runVM) program(cmd *cobra.Command) *string {
	if !cmd.Flags().Changed("entrypoint") {
		return nil
	}
	return &r.entrypoint
}

func (r *runVM) run(cmd *cobra.Command, argv []string) error {
	a := r.a
	req, exec, err := r.request(cmd, argv)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return own(err)
	}
	began := time.Now()
	vm, err := r.createAndStart(cmd.Context(), c, req)
	if err != nil {
		return own(err)
	}
	started := time.Now()
	a.std.notes(publishedNotes(req.Publish, nil, vm))
	if r.detach {
		_, err = fmt.Fprintln(a.std.out, vm.Name)
	} else {
		if exec.TTY && len(argv) == 0 {
			r.setUpTools(cmd.Context(), c.Guest(vm.ID), vm, exec)
			vm.Tools = ""
		}
		exec = imageconfig.WithTools(vm.Tools, imageconfig.Command(vm.ImageConfig, r.program(cmd), exec))
		err = a.sessions().run(cmd.Context(), c.Guest(vm.ID), exec)
	}
	ended := time.Now()
	r.leave(cmd.Context(), c, vm, err)
	if r.timing {
		r.printTiming(vm.Timing, started.Sub(began), ended.Sub(started), time.Since(ended))
	}
	return err
}

// leave deletes the VM, or says what becomes of it. ended is how its command ended.
func (r *runVM) leave(ctx context.Context, c *client.Client, vm api.VM, ended error) {
	switch {
	case r.detach:
	case r.rm && errors.Is(ended, errDetached):
		if err := c.VMs().Keep(ctx, vm.ID); err != nil {
			r.a.std.printError(err)
		}
		r.a.std.note("VM %s will be removed when it stops", vm.Name)
	case r.rm:
		if err := r.remove(ctx, c, vm.ID); err != nil {
			r.a.std.printError(err)
		}
	default:
		r.printReturnHint(vm.Name)
	}
}

// setUpTools sets up tools in the background: a person in a shell does not wait for them. The
// command's output stays in its session.
func (r *runVM) setUpTools(ctx context.Context, g *client.Guest, vm api.VM, shell api.Exec) {
	if vm.Tools == "" {
		return
	}
	id, _, err := g.Start(ctx, imageconfig.WithTools(vm.Tools, api.Exec{Env: shell.Env, Dir: shell.Dir, User: shell.User}), r.a.std.err)
	switch {
	case err != nil:
		r.a.std.printError(err)
	case id != "":
		r.a.std.note("%s sets up tools; its output: banger vm attach %s %s", vm.Tools, vm.Name, id)
	}
}

// createAndStart creates and starts the VM. If the user cancels, no VM is left.
func (r *runVM) createAndStart(ctx context.Context, c *client.Client, req api.CreateVM) (api.VM, error) {
	p := r.a.std.newProgress()
	var report api.Report
	switch {
	case r.quiet:
	case req.Profile != "":
		report = p.withSpec("  profile " + req.Profile)
	default:
		report = p.withSpec("")
	}
	vm, err := c.VMs().Create(ctx, req, report)
	p.done()
	if err == nil && ctx.Err() != nil {
		// The VM existed before the cancellation took effect.
		if err = r.remove(ctx, c, vm.ID); err == nil {
			err = api.Errorf(api.KindCanceled, "cancelled")
		}
	}
	if e := api.AsError(err); e != nil && e.Kind == api.KindCanceled && e.Hint == "" {
		err = api.Errorf(api.KindCanceled, "cancelled, %s", nothingLeft)
	}
	return vm, err
}

// remove deletes a VM even if ctx has ended.
func (r *runVM) remove(ctx context.Context, c *client.Client, ref string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	err := c.VMs().Delete(ctx, ref, true, nil)
	if api.KindOf(err) == api.KindNotFound {
		return nil // the daemon was quicker
	}
	return err
}

// printReturnHint prints, to people only, how to return to the VM.
func (r *runVM) printReturnHint(name string) {
	if _, tty := terminal(r.a.std.err); tty {
		r.a.std.note("%s keeps running: `banger vm shell %s` opens a shell again, `banger vm delete -f %s` removes it", name, name, name)
	}
}

// printTiming prints how long each step took: the daemon's steps, the rest of the wait
// for the daemon, the command, and the removal.
func (r *runVM) printTiming(steps []api.StepTiming, start, command, removal time.Duration) {
	var b strings.Builder
	row := func(what string, d time.Duration) {
		fmt.Fprintf(&b, "  %-12s %8.1f ms\n", what, float64(d.Microseconds())/1000)
	}
	rest := start
	b.WriteString("where the time went:\n")
	for _, s := range steps {
		d := time.Duration(s.Milliseconds * float64(time.Millisecond))
		if _, part, ok := strings.Cut(s.Step, "/"); ok {
			row("  "+part, d) // included in the step's own time
			continue
		}
		rest -= d
		row(s.Step, d)
	}
	row("other", max(0, rest))
	row("command", command)
	row("removal", removal)
	row("total", start+command+removal)
	r.a.std.mu.Lock()
	defer r.a.std.mu.Unlock()
	fmt.Fprint(r.a.std.err, b.String())
}
