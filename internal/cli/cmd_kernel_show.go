package cli

import (
	"context"
	"io"
	"strings"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newKernelShow(a *app) *cobra.Command {
	return show[api.Kernel]{
		of: kernelKind, many: "kernels", example: "  banger kernel show 6.1.0-37-cloud-amd64",
		get: func(ctx context.Context, c *client.Client, name string) (api.Kernel, error) {
			return c.Kernels().Show(ctx, name)
		},
		print: func(w io.Writer, k api.Kernel) error {
			return fields(w, "names", names(k.Names), "release", k.Release, "digest", k.Digest, "source", k.Source,
				"arch", k.Arch, "size", size.Format(k.SizeBytes), "created", moment(&k.CreatedAt),
				"used by", strings.Join(k.UsedBy, ", "))
		},
	}.command(a)
}
