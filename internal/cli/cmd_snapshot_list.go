package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newSnapshotList(a *app) *cobra.Command {
	cmd := list[api.Snapshot]{
		one: "snapshot", many: "snapshots", none: "no snapshots; `banger snapshot create VM` makes one",
		get:   func(ctx context.Context, c *client.Client) ([]api.Snapshot, error) { return c.Snapshots().List(ctx) },
		table: snapshotTable,
	}.command(a)
	cmd.Short = "List the snapshots of VMs"
	return cmd
}

func snapshotTable(all []api.Snapshot, now time.Time) *table {
	t := newTable("NAME", "VM", "CREATED", "VCPUS", "MEMORY", "DISK", "USED", "IMAGE")
	for _, s := range all {
		t.add(snapshotName(s), s.VM, ago(now, s.CreatedAt), fmt.Sprint(s.VCPUs), size.Format(s.MemoryBytes), size.Format(s.DiskBytes),
			size.Format(s.UsedBytes), s.Image)
	}
	return t
}

// snapshotName is what a snapshot is called: a temporary one has only an id.
func snapshotName(s api.Snapshot) string { return cmp.Or(s.Name, s.ID) }
