package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newVMCreate(a *app) *cobra.Command {
	var s vmFlags
	var start, force bool
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Create a VM without starting it",
		Long: `Create a VM without starting it, and print its name. With --start it starts too,
but runs nothing: the Entrypoint and Cmd of its image are for banger vm run.

With --snapshot it is suspended at first, and continues from there at its start.`,
		Example: `  banger vm create dev --memory 4G --disk 20G
  banger vm create --start`,
		Args: arguments(0, 1, "one name at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if s.name != "" {
					return usagef(cmd, "cannot use two names: %q and --name %q", args[0], s.name)
				}
				s.name = args[0]
			}
			req, err := s.request(a, cmd)
			if err != nil {
				return err
			}
			if force && !start {
				return usagef(cmd, "cannot use --force without --start: a VM that does not run uses no memory")
			}
			req.Start, req.Force = start, force
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.std.newProgress()
			vm, err := c.VMs().Create(cmd.Context(), req, p.report)
			p.done()
			if err != nil {
				return err
			}
			a.std.notes(publishedNotes(req.Publish, nil, vm))
			_, err = fmt.Fprintln(a.std.out, vm.Name)
			return err
		},
	}
	s.flags(a, cmd)
	s.snapshotFlag(cmd)
	cmd.Flags().BoolVar(&start, "start", false, "also start it")
	forceMemory(cmd, &force)
	return cmd
}
