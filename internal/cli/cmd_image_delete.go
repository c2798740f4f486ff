package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newImageDelete(a *app) *cobra.Command {
	return eachCommand{
		of: imageKind, use: "delete", aliases: []string{"rm"}, short: "Delete images",
		long:    "Delete images. An image that a VM uses is refused.",
		example: "  banger image delete alpine",
		work: func(ctx context.Context, c *client.Client, name string, _ api.Report) error {
			return c.Images().Delete(ctx, name)
		},
	}.command(a)
}
