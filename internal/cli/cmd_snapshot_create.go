package cli

import (
	"fmt"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newSnapshotCreate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "create VM [NAME]",
		Short: "Keep a running VM as it is",
		Long: `Keep a running VM as it is: its memory, its programs and its disk. The VM stands still
for a moment and continues. "banger vm run --snapshot NAME" begins other VMs with that, as
often as you like, and they do not boot. Without a name it gets the VM's, with the time.

Whatever the guest has in its memory and on its disk, such as passwords, is in files of
yours until you delete the snapshot, and in each VM that begins with it.`,
		Example:           "  banger snapshot create dev\n  banger snapshot create dev before-the-upgrade",
		Args:              arguments(1, 2, "the name of a VM, and one of the snapshot at most"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			req := api.SnapshotVM{}
			if len(args) > 1 {
				req.Name = args[1]
			}
			p := a.std.newProgress()
			made, err := c.Snapshots().Create(cmd.Context(), args[0], req, p.report)
			p.done()
			if err != nil {
				return olderDaemon(err, "/snapshot", "snapshots")
			}
			a.std.note("VM %s stood still for %d ms; the snapshot takes %s", made.VM, made.PausedMilliseconds, size.Format(made.UsedBytes))
			_, err = fmt.Fprintln(a.std.out, made.Name)
			return err
		},
	}
}
