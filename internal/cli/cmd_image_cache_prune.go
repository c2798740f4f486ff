package cli

import "github.com/spf13/cobra"

func newImageCachePrune(a *app) *cobra.Command {
	return imagePrune(a, `Delete what nothing uses: the same as "banger image prune". The layers that were
downloaded and the images made of them are in one cache.`, "banger image cache prune")
}
