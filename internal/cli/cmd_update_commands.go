package cli

import (
	"encoding/json"

	"banger/internal/commands"

	"github.com/spf13/cobra"
)

// newUpdateCommands prints the links of this version's installation, for the version that updates to it.
func newUpdateCommands(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "update-commands", Example: "  banger update-commands", Short: "Print the names of this version's commands as JSON", Hidden: true, Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return json.NewEncoder(a.std.out).Encode(commands.Names)
		},
	}
}
