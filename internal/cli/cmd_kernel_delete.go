package cli

import (
	"context"

	"banger/api"

	"github.com/spf13/cobra"
)

func newKernelDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "delete NAME...",
		Aliases:           []string{"rm"},
		Short:             "Delete kernels",
		Long:              "Delete kernels. A kernel that a VM uses is refused.",
		Example:           "  banger kernel delete mine",
		Args:              arguments(1, -1, "the name of a kernel"),
		ValidArgsFunction: completeArgs(-1, kernelNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.each(cmd.Context(), args, func(ctx context.Context, name string, _ api.Report) (string, error) {
				return name, c.Kernels().Delete(ctx, name)
			})
		},
	}
}
