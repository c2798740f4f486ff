package cli

import (
	"context"
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

// nothingLeft is what a cancelled operation that was undone says.
const nothingLeft = "nothing is left"

// runVM is one `vm run`.
type runVM struct {
	shape          shape
	how            command
	entrypoint     string
	rm             bool
	detach, timing bool
	force          bool
}

func newVMRun(a *app) *cobra.Command {
	var r runVM
	cmd := &cobra.Command{
		Use:   "run [-- COMMAND [ARGUMENT...]]",
		Short: "Create a VM, start it, and run a shell or a command in it",
		Long: `Create a VM, start it, and run a shell in it, or a command. The status is the
command's, 128 plus the signal's number where a signal ended it, or 125 where
banger itself failed. The VM runs on afterwards, unless --rm is given. Ctrl-C
while it is starting leaves nothing.

An image's configuration counts. Without a command its Entrypoint and Cmd run,
where it has any. What is given stands for its Cmd: with an Entrypoint it is that
program's arguments. --entrypoint stands for both; empty, it lets COMMAND itself
run, or a shell. The image's Env, User and WorkingDir hold unless flags say
otherwise.

With --detach what would run does so without a terminal, in the background: what it
says is in banger vm logs, and each start of the VM starts it again. Where there is
nothing to run, the VM waits for banger vm exec.`,
		Example: `  banger vm run
  banger vm run --rm -- uname -a
  banger vm run --name dev --memory 4G --disk 20G
  banger vm run --image web
  banger vm run --image web --entrypoint '' -- id
  name=$(banger vm run -d)
  banger vm run -d --name site --image web`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(a, cmd, args) },
	}
	r.shape.flags(a, cmd)
	r.how.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.entrypoint, "entrypoint", "", "`PROGRAM` to run for the image's Entrypoint and Cmd; empty: neither")
	f.BoolVar(&r.rm, "rm", false, "delete the VM at the end")
	f.BoolVarP(&r.detach, "detach", "d", false, "print the VM's name and leave it running, with its command in the background")
	forceMemory(cmd, &r.force)
	f.BoolVar(&r.timing, "timing", false, "print where the time went")
	return cmd
}

func (r *runVM) run(a *app, cmd *cobra.Command, argv []string) error {
	if r.detach && r.how.tty {
		return usagef(cmd, "--detach and --tty exclude each other")
	}
	exec, err := r.how.exec(a, cmd, argv)
	if err != nil {
		return err
	}
	req, err := r.shape.request(a, cmd)
	if err != nil {
		return err
	}
	req.Start, req.AutoRemove, req.Lease = true, r.rm, r.rm && !r.detach
	req.Force = r.force
	var entrypoint *string
	if cmd.Flags().Changed("entrypoint") {
		entrypoint = &r.entrypoint
	}
	if r.detach {
		req.Background = &api.Background{Argv: exec.Argv, Entrypoint: entrypoint, Env: exec.Env, Dir: exec.Dir, User: exec.User}
	}
	c, err := a.client()
	if err != nil {
		return own(err)
	}
	began := time.Now()
	vm, err := a.createAndStart(cmd.Context(), c, req)
	if err != nil {
		return own(err)
	}
	started := time.Now()
	a.notePublished(req.Publish, nil, vm)
	if r.detach {
		_, err = fmt.Fprintln(a.out, vm.Name)
	} else {
		err = a.inGuest(cmd.Context(), c.Guest(vm.ID), imageconfig.Command(vm.ImageConfig, entrypoint, exec))
	}
	ended := time.Now()
	switch {
	case r.detach:
	case r.rm && err == errLeft:
		if e := c.KeepVM(cmd.Context(), vm.ID); e != nil {
			a.printError(e)
		}
		a.note("VM %s is removed when it stops", vm.Name)
	case r.rm:
		if e := a.remove(cmd.Context(), c, vm.ID); e != nil {
			a.printError(e)
		}
	default:
		a.farewell(vm.Name)
	}
	if r.timing {
		a.printTiming(vm.Timing, started.Sub(began), ended.Sub(started), time.Since(ended))
	}
	return err
}

// createAndStart makes the VM. Where the user gave up, it leaves none.
func (a *app) createAndStart(ctx context.Context, c *client.Client, req api.CreateVM) (api.VM, error) {
	p := a.newProgress()
	vm, err := c.CreateVM(ctx, req, p.report)
	p.done()
	if err == nil && ctx.Err() != nil {
		// It was there before the cancellation reached it.
		if err = a.remove(ctx, c, vm.ID); err == nil {
			err = api.Errorf(api.KindCanceled, "cancelled")
		}
	}
	if e := api.AsError(err); e != nil && e.Kind == api.KindCanceled && e.Hint == "" {
		err = api.Errorf(api.KindCanceled, "cancelled, %s", nothingLeft)
	}
	return vm, err
}

// remove deletes a VM although ctx may have ended.
func (a *app) remove(ctx context.Context, c *client.Client, ref string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	err := c.DeleteVM(ctx, ref, true, nil)
	if api.KindOf(err) == api.KindNotFound {
		return nil // the daemon was quicker
	}
	return err
}

// farewell says, to people only, how to come back.
func (a *app) farewell(name string) {
	if _, tty := terminal(a.err); tty {
		a.note("%s runs on: `banger vm shell %s` comes back, `banger vm delete -f %s` removes it", name, name, name)
	}
}

// printTiming says where the time went: each step of the daemon's, what is left
// of the wait for it, the command, the removal.
func (a *app) printTiming(steps []api.StepTiming, start, command, removal time.Duration) {
	var b strings.Builder
	row := func(what string, d time.Duration) {
		fmt.Fprintf(&b, "  %-12s %8.1f ms\n", what, float64(d.Microseconds())/1000)
	}
	rest := start
	b.WriteString("where the time went:\n")
	for _, s := range steps {
		d := time.Duration(s.Milliseconds * float64(time.Millisecond))
		if _, part, ok := strings.Cut(s.Step, "/"); ok {
			row("  "+part, d) // is in the step's own time
			continue
		}
		rest -= d
		row(s.Step, d)
	}
	row("other", max(0, rest))
	row("command", command)
	row("removal", removal)
	row("total", start+command+removal)
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprint(a.err, b.String())
}
