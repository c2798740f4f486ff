package cli

import (
	"time"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newImageList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the images in the cache",
		Example: "  banger image list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			images, err := c.Images().List(cmd.Context())
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(a.std.out, "images", append([]api.Image{}, images...))
			case len(images) == 0:
				a.std.note("no images yet; `banger image pull` gets the default one")
				return nil
			}
			return imageTable(images, time.Now()).write(a.std.out)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func imageTable(images []api.Image, now time.Time) *table {
	t := newTable("NAME", "DIGEST", "SIZE", "CREATED", "USED BY", "SOURCE")
	for _, i := range images {
		t.add(names(i.Names), short(i.Digest), size.Format(i.SizeBytes), ago(now, i.CreatedAt), users(i.UsedBy), i.Source)
	}
	return t
}
