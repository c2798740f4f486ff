package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newImagePrune(a *app) *cobra.Command {
	return imagePrune(a, `Delete images that have neither a name nor a VM, copies of images in sizes that
no VM has, and kernels and layers that nothing uses. Images with a name stay;
"banger image delete" deletes those. Registered images stay, too. Of the images
that "banger up" keeps of finished setups, those go whose directory is gone.`, "banger image prune")
}

// imagePrune is `image prune`, and under the name that the system had which banger grew from.
func imagePrune(a *app, long, path string) *cobra.Command {
	var asJSON, dry bool
	cmd := &cobra.Command{
		Use:     "prune",
		Short:   "Delete nameless images, and kernels and layers that nothing uses",
		Long:    long,
		Example: "  " + path + "\n  " + path + " --dry-run",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if dry {
				return a.std.wouldPrune(cmd.Context(), c, asJSON)
			}
			return a.std.prune(cmd.Context(), func(ctx context.Context, report api.Report) (api.Pruned, error) {
				return pruneImages(ctx, c, false, report)
			}, asJSON)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "list what would be deleted, with sizes, and delete nothing")
	addJSON(cmd, &asJSON)
	return cmd
}

// wouldPrune prints what a prune would remove.
func (s *streams) wouldPrune(ctx context.Context, c *client.Client, asJSON bool) error {
	pruned, err := pruneImages(ctx, c, true, nil)
	if err != nil {
		return err
	}
	return s.printPrunable(pruned, asJSON)
}
