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

// settings asks the daemon, which owns them, for the settings, as they are for a command
// with our environment. ignored are our variables that do not count.
func (a *app) settings(ctx context.Context, c *client.Client) (shown api.Config, ignored []string, err error) {
	if shown, err = c.Config(ctx); err != nil {
		return shown, nil, err
	}
	return config.ForCommand(shown, a.env)
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

func newConfigShow(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show every setting and where its value comes from",
		Long: `Show every setting and where its value comes from: the file config.toml, a
variable of the environment, the host's size, or a default. In the file, a setting
is a line such as memory = "4G". What a new VM is like can also come from the
environment of the command that makes it, which wins: BANGER_MEMORY=4G, and
likewise BANGER_VCPUS, _DISK, _IMAGE, _KERNEL, _DRIVER and _INIT. All other
settings are the daemon's, for all commands: it takes nothing from the environment
of the command that happens to start it, PATH and proxies included. A change counts
for the next VM; one of accel, console_log, path, registry_auth, the proxies or the
programs counts when the daemon is started again ("banger daemon stop", or "banger
system restart" if banger is a service). The settings:

` + config.Help(),
		Example: "  banger config show\n  BANGER_MEMORY=4G banger config show",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			shown, ignored, err := a.settings(cmd.Context(), c)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.out, "config", shown)
			}
			t := newTable("SETTING", "VALUE", "FROM")
			for _, v := range shown.Values {
				t.add(v.Key, v.Value, v.Origin)
			}
			if err := t.write(a.out); err != nil {
				return err
			}
			a.note("the file is %s", shown.File)
			for _, variable := range ignored {
				a.note("%s of the environment does not count: the setting is the daemon's, and belongs in the file", variable)
			}
			return nil
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
