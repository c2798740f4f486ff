package cli

import "github.com/spf13/cobra"

func newTop(a *app) *cobra.Command {
	s := statsCommand{a: a, follow: true}
	cmd := &cobra.Command{
		Use:   "top [NAME...]",
		Short: "Show what VMs use, again and again",
		Long: `Show what VMs use, or all running VMs, at every interval until Ctrl-C: on a terminal
in place, elsewhere one table after another, and with --json one object per line.
This is "banger vm stats --follow".

` + statsColumns,
		Example:           "  banger top\n  banger top --interval 500ms dev",
		Args:              arguments(0, -1, "names of VMs, or none"),
		ValidArgsFunction: completeArgs(-1, vmNames),
		RunE:              s.run,
	}
	s.flags(cmd)
	return cmd
}
