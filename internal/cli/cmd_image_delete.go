package cli

import (
	"context"

	"banger/api"

	"github.com/spf13/cobra"
)

func newImageDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "delete NAME...",
		Aliases:           []string{"rm"},
		Short:             "Delete images",
		Long:              "Delete images. An image that a VM uses is refused.",
		Example:           "  banger image delete alpine",
		Args:              arguments(1, -1, "the name of an image"),
		ValidArgsFunction: completeArgs(-1, imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.each(cmd.Context(), args, func(ctx context.Context, name string, _ api.Report) (string, error) {
				return name, c.Images().Delete(ctx, name)
			})
		},
	}
}
