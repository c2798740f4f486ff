package cli

import (
	"github.com/spf13/cobra"
)

func newImagePrune(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete nameless images, and kernels and layers that nothing uses",
		Long: `Delete images that have neither a name nor a VM, copies of images in sizes that
no VM has, and kernels and layers that nothing uses. Images with a name stay;
"banger image delete" deletes those.`,
		Example: "  banger image prune",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.std.prune(cmd.Context(), c.Images().Prune, asJSON)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
