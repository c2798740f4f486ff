package cli

import (
	"fmt"

	"banger/api"
	"banger/internal/buildinfo"

	"github.com/spf13/cobra"
)

func newVersion(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print banger's version",
		Example: "  banger version\n  banger version --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			info := buildinfo.Get()
			if asJSON {
				return printJSON(a.std.out, "", struct {
					buildinfo.Info
					Protocol int `json:"protocol"`
				}{info, api.Version})
			}
			_, err := fmt.Fprintln(a.std.out, versionLine())
			return err
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

// versionLine is the line that an update reads from a new version before switching to it.
func versionLine() string {
	info := buildinfo.Get()
	return fmt.Sprintf("banger %s (commit %s, %s, %s, protocol %d)", info.Version, info.Commit, info.Go, info.Platform, api.Version)
}
