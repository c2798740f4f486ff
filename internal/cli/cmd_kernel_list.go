package cli

import (
	"time"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newKernelList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the kernels in the cache",
		Example: "  banger kernel list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			kernels, err := c.Kernels().List(cmd.Context())
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(a.std.out, "kernels", append([]api.Kernel{}, kernels...))
			case len(kernels) == 0:
				a.std.note("no kernels yet; `banger kernel pull` gets the distribution's")
				return nil
			}
			return kernelTable(kernels, time.Now()).write(a.std.out)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func kernelTable(kernels []api.Kernel, now time.Time) *table {
	t := newTable("NAME", "RELEASE", "DIGEST", "SIZE", "CREATED", "USED BY", "SOURCE")
	for _, k := range kernels {
		t.add(names(k.Names), k.Release, short(k.Digest), size.Format(k.SizeBytes), ago(now, k.CreatedAt), users(k.UsedBy), k.Source)
	}
	return t
}
