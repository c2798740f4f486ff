package cli

import (
	"banger/internal/config"
	"banger/internal/paths"

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

// config reads the settings as this process sees them.
func (a *app) config() (config.Config, error) {
	p, err := paths.Choose()
	if err != nil {
		return config.Config{}, err
	}
	return config.Load(p.ConfigFile(), a.env, config.DetectHost())
}

func newConfigShow(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show every setting and where its value comes from",
		Long: `Show every setting and where its value comes from: the file config.toml, a
BANGER_… variable of the environment, the host's size, or a default. In the
file, a setting is a line such as memory = "4G"; in the environment,
BANGER_MEMORY=4G, which wins. A change counts for the next VM; one of accel,
console_log or the programs counts once the daemon is started anew ("banger daemon
stop", or "banger system restart" where banger is a service). The settings:

` + config.Help(),
		Example: "  banger config show\n  BANGER_MEMORY=4G banger config show",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			settings, err := a.config()
			if err != nil {
				return err
			}
			shown := settings.API()
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
			return nil
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
