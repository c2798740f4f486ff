package cli

import (
	"fmt"

	"banger/api"

	"github.com/spf13/cobra"
)

func newDown(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "down [PATH]",
		Short: "Stop the VM of a repository or folder",
		Long: `Stop the VM that "banger up" made for the repository that PATH is in, or for that
folder. PATH is the working directory by default. The VM's disk stays, with all that
is on it; "banger up" starts it again. "banger vm delete" removes it.`,
		Example: "  banger down\n  banger down ~/src/project",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.from.alone(cmd, len(args)); err != nil {
				return err
			}
			w, err := a.openWorkspace(cmd.Context(), append(args, ".")[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			report := func(p *progress) api.Report { return p.report }
			all, err := settledVMs(cmd.Context(), a, c, w, report)
			if err != nil {
				return err
			}
			vm, err := a.newestVM(w, w.Own(all))
			if err != nil {
				return err
			}
			if hasMachine(vm) {
				p := a.std.newProgress()
				_, err = c.VMs().Stop(cmd.Context(), vm.ID, api.StopVM{}, p.report)
				p.done()
			}
			if api.KindOf(err) == api.KindConflict {
				if now, failed := c.VMs().Show(cmd.Context(), vm.ID); failed == nil && !hasMachine(now) {
					err = nil // it ended first
				}
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.std.out, vm.Name)
			return err
		},
	}
	a.from.flag(cmd.Flags())
	return cmd
}

// hasMachine reports whether there is something of a VM to stop.
func hasMachine(vm api.VM) bool { return vm.State == api.StateRunning || vm.State == api.StatePaused }
