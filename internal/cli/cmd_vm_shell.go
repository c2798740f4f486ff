package cli

import "github.com/spf13/cobra"

func newVMShell(a *app) *cobra.Command {
	var how command
	cmd := &cobra.Command{
		Use:   "shell NAME",
		Short: "Open a shell in a running VM",
		Long: `Open a shell in a running VM, on a terminal if standard input is one. Ctrl-D or
exit ends it with the shell's exit status; the VM keeps running. Ctrl-] d detaches
and leaves the shell running; "banger vm attach" returns to it.`,
		Example:           "  banger vm shell dev\n  echo uptime | banger vm shell dev",
		Args:              arguments(1, 1, "the name of one VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			exec, err := how.exec(a, cmd, nil)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return own(err)
			}
			return a.sessions().run(cmd.Context(), c.Guest(args[0]), exec)
		},
	}
	how.flags(cmd)
	return cmd
}
