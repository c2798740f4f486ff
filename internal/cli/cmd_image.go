package cli

import (
	"github.com/spf13/cobra"
)

func newImage(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "image",
		Short:   "Get and remove root file systems",
		Example: "  banger image list\n  banger image pull",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newImageList(a), newImagePull(a), newImageImport(a), newImageExport(a), newImageRegister(a), newImagePromote(a), newImageShow(a), newImageTag(a), newImageHistory(a), newImageDelete(a), newImagePrune(a), newImageCache(a))
	return cmd
}
