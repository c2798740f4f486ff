package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

// fork is one `vm fork`.
type fork struct {
	a      *app
	count  int
	names  []string
	labels []string
	force  bool
	quiet  bool
}

// maxForks bounds the copies that one command makes.
const maxForks = 100

func newVMFork(a *app) *cobra.Command {
	f := fork{a: a}
	cmd := &cobra.Command{
		Use:   "fork VM",
		Short: "Make copies of a running VM that run on by themselves",
		Long: `Make copies of a running VM: with its memory, its programs and its disk, as they are. The
VM stands still for a moment and continues; the copies do not boot. What one of them
changes, the others do not see. Their names are printed, and what makes each another VM: it
has other random numbers, another host name, machine-id and ssh host keys, and its TCP
connections to elsewhere are reset if its kernel can list them. Published ports are the VM's
alone. Commands that run in sessions continue in the copies, too, without a client: "banger
vm sessions" lists them.

Programs are copied with what they have in their memory: passwords, tokens, and the state of
random number generators of their own.`,
		Example:           "  banger vm fork dev\n  banger vm fork -n 3 dev\n  banger vm fork --name left --name right dev",
		Args:              arguments(1, 1, "the name of a VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.IntVarP(&f.count, "number", "n", 1, "how many copies")
	flags.StringArrayVar(&f.names, "name", nil, "`NAME` of a copy; may be repeated (default: the VM's name, -fork- and a number)")
	flags.StringArrayVar(&f.labels, "label", nil, "a label of the copies, as `KEY=VALUE`; may be repeated")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print the names alone")
	forceMemory(cmd, &f.force)
	return cmd
}

func (f *fork) run(cmd *cobra.Command, name string) error {
	numbered := cmd.Flags().Changed("number")
	switch {
	case numbered && len(f.names) > 0 && f.count != len(f.names):
		return usagef(cmd, "-n %d and %d names contradict each other", f.count, len(f.names))
	case f.count < 1 || f.count > maxForks || len(f.names) > maxForks:
		return usagef(cmd, "cannot make %d copies: 1 to %d", max(f.count, len(f.names)), maxForks)
	}
	labels, err := labelFlag(cmd, f.labels)
	if err != nil {
		return err
	}
	c, err := f.a.client()
	if err != nil {
		return err
	}
	vms, err := c.VMs().List(cmd.Context())
	if err != nil {
		return err
	}
	if len(f.names) == 0 {
		vm, err := c.VMs().Show(cmd.Context(), name) // it may be an id
		if err != nil {
			return err
		}
		f.names = forkNames(vm.Name, f.count, vms)
	}
	if taken := slices.IndexFunc(vms, func(vm api.VM) bool { return slices.Contains(f.names, vm.Name) }); taken >= 0 {
		return api.Errorf(api.KindExists, "a VM named %q exists already", vms[taken].Name).WithHint("choose another --name")
	}
	return f.make(cmd.Context(), c, name, labels.Set)
}

// make makes a snapshot for all copies, and the copies.
func (f *fork) make(ctx context.Context, c *client.Client, name string, labels map[string]string) error {
	p := f.a.std.newProgress()
	made, err := c.Snapshots().Create(ctx, name, api.SnapshotVM{Temporary: true}, p.report)
	p.done()
	if err != nil {
		return olderDaemon(err, "/snapshot", "vm fork")
	}
	if !f.quiet {
		f.a.std.note("VM %s stood still for %d ms", made.VM, made.PausedMilliseconds)
	}
	reports := make([][]string, len(f.names))
	err = f.a.each(ctx, f.names, func(ctx context.Context, name string, report api.Report) (string, error) {
		vm, err := c.VMs().Create(ctx, api.CreateVM{Name: name, From: made.ID, Labels: labels, Start: true, Force: f.force}, report)
		if err == nil && !f.quiet {
			reports[slices.Index(f.names, name)] = originNotes(vm)
		}
		return vm.Name, err
	})
	for _, lines := range reports {
		f.a.std.notes(lines)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	if failed := c.Snapshots().Delete(ctx, made.ID); failed != nil && err == nil {
		err = failed
	}
	return err
}

// forkNames are the first names that are free for copies of a VM.
func forkNames(vm string, count int, vms []api.VM) (names []string) {
	const most = 63 - len("-fork-0000") // of a DNS label
	vm = strings.TrimRight(vm[:min(len(vm), most)], "-")
	for n := 1; len(names) < count; n++ {
		name := fmt.Sprintf("%s-fork-%d", vm, n)
		if !slices.ContainsFunc(vms, func(vm api.VM) bool { return vm.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// originNotes say what makes a VM another one than that of its snapshot.
func originNotes(vm api.VM) []string {
	if vm.Origin == nil {
		return nil
	}
	notes := []string{fmt.Sprintf("%s is VM %s as it was at %s", vm.Name, vm.Origin.VM, vm.Origin.TakenAt.Local().Format(time.TimeOnly))}
	for _, kind := range []struct {
		of   func(api.OriginStep) bool
		says string
	}{{isNew, "new"}, {isEnded, "ended or detached"}, {isLeft, "not done"}} {
		if text := originSteps(vm.Origin.Steps, kind.of); text != "" {
			notes = append(notes, "  "+kind.says+": "+text)
		}
	}
	return append(notes, "  as in "+vm.Origin.VM+": all else, with what its programs have in their memory and on the disk")
}

// originText says which VM a VM began as, and what made it another one.
func originText(o *api.Origin) string {
	if o == nil {
		return ""
	}
	text := "VM " + o.VM + " at " + moment(&o.TakenAt)
	if o.Name != "" {
		text += ", snapshot " + o.Name
	}
	if steps := originSteps(o.Steps, isNew); steps != "" {
		text += "; new: " + steps
	}
	return text
}

// isNew and isEnded report whether a step was done that gave the guest something of its own, or took something of the
// other one from it.
func isNew(s api.OriginStep) bool { return s.State == "done" && !isEnded(s) }

func isEnded(s api.OriginStep) bool {
	return s.State == "done" && (s.Name == "sessions" || s.Name == "connections")
}

// isLeft reports whether a step was not done that a user may count on. A guest without a machine-id or ssh host
// keys needs no others; of its connections nobody knows.
func isLeft(s api.OriginStep) bool {
	return s.State == "failed" || s.State == "skipped" && s.Name == "connections"
}

// originSteps are some of the steps, with what they say. Their names are the agent's (agentproto).
func originSteps(steps []api.OriginStep, which func(api.OriginStep) bool) string {
	var said []string
	for _, s := range steps {
		if !which(s) {
			continue
		}
		if s.Name == "random" {
			s.Name = "random numbers"
		}
		if s.Detail != "" {
			s.Name += " (" + s.Detail + ")"
		}
		said = append(said, s.Name)
	}
	return strings.Join(said, ", ")
}
