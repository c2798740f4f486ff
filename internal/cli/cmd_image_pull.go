package cli

import (
	"banger/api"

	"github.com/spf13/cobra"
)

func newImagePull(a *app) *cobra.Command {
	var refresh bool
	cmd := &cobra.Command{
		Use:   "pull [NAME]",
		Short: "Get an image from a registry, or build the distribution's",
		Long: `Get an image from a registry. The default registry is docker.io and the default
tag is latest; the table image_names of the settings defines short names. Only data
that the cache lacks is downloaded, and an interrupted pull continues where it
stopped. Passwords are Docker's: docker login REGISTRY. The setting registry_ca
names the authority of a registry's certificate.

Without NAME, or with the name of this machine's own distribution, build the image
from the distribution's packages, unless the cache has a current one. The packages
come from this machine's own package sources, and their signatures are checked.`,
		Example: `  banger image pull alpine:3.20
  banger image pull registry.example.com/owner/image:tag
  banger image pull
  banger image pull --refresh debian`,
		Args:              arguments(0, 1, "one name at most"),
		ValidArgsFunction: completeArgs(1, imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if name == "" {
				shown, _, err := a.settings(cmd.Context(), c, "", "")
				if err != nil {
					return err
				}
				name = valueOf(shown, "image")
			}
			p := a.std.newProgress()
			image, err := c.Images().Pull(cmd.Context(), api.PullImage{Name: name, Refresh: refresh}, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.std.printMade(image.Names, image.Digest)
		},
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "build the distribution's again even if it is in the cache")
	return cmd
}
