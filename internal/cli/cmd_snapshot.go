package cli

import (
	"github.com/spf13/cobra"
)

func newSnapshot(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "snapshot",
		Short:   "Keep running VMs as they are, and begin others with that",
		Example: "  banger snapshot create dev before\n  banger vm run --snapshot before",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newSnapshotCreate(a), newSnapshotList(a), newSnapshotShow(a), newSnapshotDelete(a))
	return cmd
}
