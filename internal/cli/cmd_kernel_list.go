package cli

import (
	"context"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newKernelList(a *app) *cobra.Command {
	return list[api.Kernel]{
		one: "kernel", many: "kernels", none: "no kernels yet; `banger kernel pull` gets the distribution's", table: kernelTable,
		get: func(ctx context.Context, c *client.Client) ([]api.Kernel, error) { return c.Kernels().List(ctx) },
	}.command(a)
}

func kernelTable(kernels []api.Kernel, now time.Time) *table {
	t := newTable("NAME", "RELEASE", "DIGEST", "SIZE", "CREATED", "USED BY", "SOURCE")
	for _, k := range kernels {
		t.add(names(k.Names), k.Release, short(k.Digest), size.Format(k.SizeBytes), ago(now, k.CreatedAt), users(k.UsedBy), k.Source)
	}
	return t
}
