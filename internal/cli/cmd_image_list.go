package cli

import (
	"context"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newImageList(a *app) *cobra.Command {
	return list[api.Image]{
		one: "image", many: "images", none: "no images yet; `banger image pull` gets the default one", table: imageTable,
		get: func(ctx context.Context, c *client.Client) ([]api.Image, error) { return c.Images().List(ctx) },
	}.command(a)
}

func imageTable(images []api.Image, now time.Time) *table {
	t := newTable("NAME", "DIGEST", "SIZE", "CREATED", "USED BY", "SOURCE")
	for _, i := range images {
		t.add(names(i.Names), short(i.Digest), size.Format(i.SizeBytes), ago(now, i.CreatedAt), users(i.UsedBy), i.Source)
	}
	return t
}
