package cli

import (
	"encoding/json"

	"banger/internal/system"

	"github.com/spf13/cobra"
)

// newUpdateFiles prints the unit files of this version, for the version that updates to it.
func newUpdateFiles(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "update-files", Example: "  banger update-files", Short: "Print this version's unit files as JSON", Hidden: true, Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			files, err := system.ThisHost().Files()
			if err != nil {
				return err
			}
			return json.NewEncoder(a.std.out).Encode(files)
		},
	}
}
