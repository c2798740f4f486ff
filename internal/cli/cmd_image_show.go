package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newImageShow(a *app) *cobra.Command {
	return show[api.Image]{
		of: imageKind, many: "images", example: "  banger image show debian",
		get: func(ctx context.Context, c *client.Client, name string) (api.Image, error) {
			return c.Images().Show(ctx, name)
		},
		print: func(w io.Writer, i api.Image) error {
			r := i.Registered
			if r == nil {
				r = &api.RegisteredFiles{}
			}
			return fields(w, append([]string{"names", names(i.Names), "digest", i.Digest, "source", i.Source, "root file system", r.Rootfs, "kernel file", r.Kernel, "modules", r.Modules, "kernel", i.Kernel, "arch", i.Arch,
				"size", size.Format(i.SizeBytes), "smallest disk", size.Format(i.DiskBytes),
				"created", moment(&i.CreatedAt), "reference", i.Reference, "manifest", i.Manifest, "layers", layers(i.Layers), "used by", strings.Join(i.UsedBy, ", ")}, configFields(i.Config)...)...)
		},
	}.command(a)
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
