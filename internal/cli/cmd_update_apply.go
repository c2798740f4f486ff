package cli

import (
	"github.com/spf13/cobra"
)

// newUpdateApply is the updater: the CLI has systemd start it, or starts it in a
// session of its own.
func newUpdateApply(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "update-apply", Example: "  systemctl status banger-update", Short: "Carry out an update that was prepared", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := findUpdater(a.std.step)
			if err != nil {
				return err
			}
			if m.System { // otherwise standard error is the log
				closeLog, err := m.AlsoLog()
				if err != nil {
					return err
				}
				defer func() { _ = closeLog() }() // no line of it counts more than the update
			}
			_, err = m.Apply(cmd.Context())
			return err
		},
	}
}
