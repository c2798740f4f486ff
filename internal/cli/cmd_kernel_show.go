package cli

import (
	"strings"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newKernelShow(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "show NAME...",
		Short:             "Show a kernel in detail",
		Example:           "  banger kernel show 6.1.0-37-cloud-amd64",
		Args:              arguments(1, -1, "the name of a kernel"),
		ValidArgsFunction: completeArgs(-1, kernelNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return showAll(a, args, asJSON, "kernel", "kernels",
				func(name string) (api.Kernel, error) { return c.Kernels().Show(cmd.Context(), name) },
				func(k api.Kernel) error {
					return fields(a.std.out, "names", names(k.Names), "release", k.Release, "digest", k.Digest, "source", k.Source,
						"arch", k.Arch, "size", size.Format(k.SizeBytes), "created", moment(&k.CreatedAt),
						"used by", strings.Join(k.UsedBy, ", "))
				})
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
