package cli

import (
	"context"
	"fmt"
	"io"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newSnapshotShow(a *app) *cobra.Command {
	return show[api.Snapshot]{
		of: snapshotKind, many: "snapshots", example: "  banger snapshot show before",
		get: func(ctx context.Context, c *client.Client, name string) (api.Snapshot, error) {
			return c.Snapshots().Show(ctx, name)
		},
		print: func(w io.Writer, s api.Snapshot) error {
			driver := s.Driver
			if s.Accel != "" {
				driver += " (" + s.Accel + ")"
			}
			temporary := ""
			if s.Temporary {
				temporary = "yes"
			}
			return fields(w, "name", s.Name, "id", s.ID, "vm", s.VM, "created", moment(&s.CreatedAt), "temporary", temporary,
				"image", withDigest(s.Image, s.ImageDigest), "driver", driver, "vcpus", fmt.Sprint(s.VCPUs), "memory", size.Format(s.MemoryBytes),
				"disk", size.Format(s.DiskBytes), "used", size.Format(s.UsedBytes), "stood still", fmt.Sprintf("%d ms", s.PausedMilliseconds))
		},
	}.command(a)
}
