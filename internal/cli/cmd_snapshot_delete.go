package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newSnapshotDelete(a *app) *cobra.Command {
	return eachCommand{
		of: snapshotKind, use: "delete", aliases: []string{"rm"}, short: "Delete snapshots",
		long:    "Delete snapshots. VMs that began with one keep what they have.",
		example: "  banger snapshot delete before",
		work: func(ctx context.Context, c *client.Client, name string, _ api.Report) error {
			return c.Snapshots().Delete(ctx, name)
		},
	}.command(a)
}
