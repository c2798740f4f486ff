package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMSuspend(a *app) *cobra.Command {
	return eachCommand{
		of:  vmKind,
		use: "suspend", short: "Save the memory of running VMs to the disk, and end them",
		long: `Save the memory of running VMs to this host's disk, and end their VMMs. A suspended VM
takes no memory and no processor time, and survives a reboot of the host. Programs in it do
not notice: it continues where it was at "banger vm start", or when somebody uses it: a new
exec, shell, ssh or cp, a connection to a published port, or input for a session that is
still open. Sessions and published ports stay open meanwhile.

Connections that the guest has made to others may have ended by then. Whatever the guest had
in its memory, such as passwords, is in a file of yours on the disk until then. Until the
memory is saved, Ctrl-C lets the VM run on.`,
		example: "  banger vm suspend dev\n  banger vm start dev",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Suspend(ctx, name, report)
			return olderDaemon(err, "/suspend", "vm suspend")
		},
	}.command(a)
}
