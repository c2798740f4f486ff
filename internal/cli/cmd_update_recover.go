package cli

import (
	"github.com/spf13/cobra"
)

// newUpdateRecover finishes, while the machine boots, an update during which power was lost.
func newUpdateRecover(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "update-recover", Example: "  systemctl status banger-update-recover", Short: "Finish an update that a loss of power interrupted", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := findUpdater(a.std.step)
			if err != nil {
				return err
			}
			_, err = m.Recover(cmd.Context())
			return err
		},
	}
}
