package cli

import (
	"fmt"
	"strings"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newImageShow(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "show NAME...",
		Short:             "Show an image in detail",
		Example:           "  banger image show debian",
		Args:              arguments(1, -1, "the name of an image"),
		ValidArgsFunction: completeArgs(-1, imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return showAll(a, args, asJSON, "image", "images",
				func(name string) (api.Image, error) { return c.Images().Show(cmd.Context(), name) },
				func(i api.Image) error {
					return fields(a.std.out, append([]string{"names", names(i.Names), "digest", i.Digest, "source", i.Source, "arch", i.Arch,
						"size", size.Format(i.SizeBytes), "smallest disk", size.Format(i.DiskBytes),
						"created", moment(&i.CreatedAt), "reference", i.Reference, "manifest", i.Manifest, "layers", layers(i.Layers), "used by", strings.Join(i.UsedBy, ", ")}, configFields(i.Config)...)...)
				})
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

// layers summarizes an image's layers for people.
func layers(all []api.ImageLayer) string {
	if len(all) == 0 {
		return ""
	}
	var total int64
	for _, l := range all {
		total += l.SizeBytes
	}
	return fmt.Sprintf("%d, %s unpacked", len(all), size.Format(total))
}
