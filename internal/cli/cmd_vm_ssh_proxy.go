package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"banger/client"

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
			return a.proxy(s)
		},
	}
}

// proxy carries bytes until ssh or the guest ends. Ctrl-C is for ssh, which shares the
// terminal: if it ends, proxy ends.
func (a *app) proxy(s *client.Session) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a write error instead of the end of this process
	go func() {
		_, _ = io.Copy(s.Stdin, a.in) // a failed write means that the session has ended
		s.Stdin.Close()
	}()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(a.out, s.Stdout)
		copied <- err
	}()
	select {
	case err := <-copied:
		if err != nil { // ssh has gone
			return nil
		}
	case <-signals:
		return nil
	}
	_, err := s.Wait(context.Background())
	return err
}
