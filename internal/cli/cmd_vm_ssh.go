package cli

import (
	"os"
	"strings"
	"syscall"

	"banger/api"

	"github.com/spf13/cobra"
)

func newVMSSH(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ssh [USER@]NAME [-- ARGUMENT...]",
		Short: "Connect to a running VM with your own ssh",
		Long: `Connect ssh(1) to a running VM, for a shell or a command. Arguments are passed to
ssh: options first, then the command. USER is a user of the guest, by default root.
The image needs no SSH server, and the VM no network: banger carries the
connection, which survives a restart of the daemon. The VM's host key is known
before the first connection, so ssh does not ask about it.

The exit status is ssh's: the command's, or 255. It is 125 if banger failed before
ssh ran. See "banger ssh-config" for scp, sftp, rsync, git and editors.`,
		Example: `  banger vm ssh dev
  banger vm ssh dev -- make test
  banger vm ssh www-data@dev -- id
  banger vm ssh dev -- -N -L 8080:localhost:80
  banger vm ssh dev -- -A git fetch`,
		Args:              arguments(1, -1, "the name of a VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, name, named := strings.Cut(args[0], "@")
			if !named {
				user, name = "root", args[0]
			}
			if user == "" || name == "" || strings.HasPrefix(user, "-") {
				return usagef(cmd, "cannot use %q: write NAME or USER@NAME", args[0])
			}
			c, err := a.client()
			if err != nil {
				return own(err)
			}
			ssh, err := findSSH()
			if err != nil {
				return own(err)
			}
			access, err := c.VMs().SSHAccess(cmd.Context(), name)
			if err != nil {
				return own(err)
			}
			self, err := sshSelf("")
			if err != nil {
				return own(err)
			}
			argv := []string{"ssh"}
			for _, o := range append(sshOptions(self), sshOption{"User", user}) {
				argv = append(argv, "-o", o.name+"="+o.value)
			}
			argv = append(append(argv, access.Name+sshDomain), afterDashes(args[1:])...)
			err = syscall.Exec(ssh, argv, os.Environ())
			return own(api.Errorf(api.KindInternal, "cannot run %s: %w", ssh, err))
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}
