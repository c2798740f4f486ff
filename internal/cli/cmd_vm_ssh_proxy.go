package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newVMSSHProxy(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ssh-proxy NAME",
		Short:   "Carry ssh's connection to a running VM",
		Long:    "Carry a connection to the SSH server of a running VM on standard input and output,\nfor the ProxyCommand of ssh_config(5).",
		Example: "  ssh -o ProxyCommand='banger vm ssh-proxy %h' root@dev.banger",
		Hidden:  true,
		Args:    arguments(1, 1, "the name of one VM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := vmOfHost(args[0])
			c, err := a.client()
			if err != nil {
				return err
			}
			access, err := c.VMs().SSHAccess(cmd.Context(), name)
			if err != nil {
				return err
			}
			s, err := c.Guest(name).SSH(context.WithoutCancel(cmd.Context()), access.HostKey)
			if err != nil {
				return err
			}
			defer s.Close()
			a.signals.leave()
			return a.sessions().proxy(s)
		},
	}
}
