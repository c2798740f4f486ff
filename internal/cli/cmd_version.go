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
				return printJSON(a.out, "", struct {
					buildinfo.Info
					Protocol int `json:"protocol"`
				}{info, api.Version})
			}
			_, err := fmt.Fprintf(a.out, "banger %s (commit %s, %s, %s, protocol %d)\n",
				info.Version, info.Commit, info.Go, info.Platform, api.Version)
			return err
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
