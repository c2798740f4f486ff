package cli

import (
	"github.com/spf13/cobra"
)

func newImageCache(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Short:   "Remove what nothing uses: the same as image prune",
		Example: "  banger image cache prune --dry-run",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newImageCachePrune(a))
	return cmd
}
