package cli

import (
	"context"

	"banger/api"
	"banger/client"
	"banger/internal/config"

	"github.com/spf13/cobra"
)

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Show the settings",
		Example: "  banger config show",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newConfigShow(a))
	return cmd
}

// settings asks the daemon for the settings as they apply to a command with this
// process's environment. ignored are variables of that environment that have no effect.
// A profile or an image, which may be empty, asks for those of a new VM of it.
func (a *app) settings(ctx context.Context, c *client.Client, profile, image string) (shown api.Config, ignored []string, err error) {
	if shown, err = c.Daemon().ConfigFor(ctx, profile, image); err != nil {
		return shown, nil, err
	}
	return config.ForCommand(shown, a.std.env)
}

// valueOf is a setting's value.
func valueOf(shown api.Config, key string) string {
	for _, v := range shown.Values {
		if v.Key == key {
			return v.Value
		}
	}
	return ""
}
