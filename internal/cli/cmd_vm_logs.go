package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

func newVMLogs(a *app) *cobra.Command {
	var follow bool
	var tail int
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print the output of a VM's serial console",
		Long: `Print the output of a VM's serial console: the kernel's messages, and what the
guest writes to its console. The oldest part of a long log is dropped. On a
terminal, control characters are shown as text (such as ^[).`,
		Example:           "  banger vm logs dev\n  banger vm logs -f dev\n  banger vm logs -n 20 dev",
		Args:              arguments(1, 1, "the name of one VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			lines := -1
			if cmd.Flags().Changed("tail") {
				if lines = tail; tail < 0 {
					return usagef(cmd, "cannot use --tail %d: it is negative", tail)
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			out, end := a.std.guestText()
			err = errors.Join(c.VMs().Logs(cmd.Context(), args[0], follow, lines, out), end())
			if sig := a.signals.signal(); err == nil && sig != 0 {
				return statusError(128 + int(sig))
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "continue until the VM stops")
	cmd.Flags().IntVarP(&tail, "tail", "n", 0, "print only the last `LINES`")
	return cmd
}
