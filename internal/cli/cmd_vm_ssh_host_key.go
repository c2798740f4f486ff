package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newVMSSHHostKey(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ssh-host-key HOST",
		Short:   "Print a running VM's host key as known_hosts has it",
		Long:    "Print the host key of a running VM as a line of known_hosts (sshd(8)), for the\nKnownHostsCommand of ssh_config(5).",
		Example: "  banger vm ssh-host-key dev.banger",
		Hidden:  true,
		Args:    arguments(1, 1, "the name of one VM, as ssh has it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			access, err := c.VMs().SSHAccess(cmd.Context(), vmOfHost(args[0]))
			if err != nil {
				return err
			}
			// Repeat the host as ssh wrote it, which may have brackets and a port.
			_, key, _ := strings.Cut(access.KnownHosts, " ")
			_, err = fmt.Fprintf(a.std.out, "%s %s\n", args[0], key)
			return err
		},
	}
}
