package cli

import (
	"banger/internal/config"

	"github.com/spf13/cobra"
)

func newConfigShow(a *app) *cobra.Command {
	var asJSON bool
	var profile, image string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show every setting and where its value comes from",
		Long: `Show every setting and where its value comes from: the file config.toml, a
variable of the environment, the host's size, or a default. In the file, a setting
is a line such as memory = "4G". The settings of a new VM can also come from the
environment of the command that creates it, which takes precedence:
BANGER_MEMORY=4G, and likewise BANGER_VCPUS, _DISK, _IMAGE, _KERNEL, _DRIVER,
_INIT and _NETWORK. With --profile or --image it shows what applies to a new VM:
a flag, the environment, the profile, the image's defaults, the other settings, in
this order. All other settings belong to the daemon and apply to all commands: the
daemon takes nothing from the environment of the command that starts it, not even
PATH or proxies. A change applies to the next VM; a change of accel, console_log,
path, registry_auth, the proxies or the programs applies when the daemon is
restarted ("banger daemon stop", or "banger system restart" if banger is a
service). The settings:

` + config.Help(),
		Example: "  banger config show\n  BANGER_MEMORY=4G banger config show\n  banger config show --profile web",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			shown, ignored, err := a.settings(cmd.Context(), c, profile, imageOrOwn(a, profile, image))
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.std.out, "config", shown)
			}
			t := newTable("SETTING", "VALUE", "FROM")
			for _, v := range shown.Values {
				t.add(v.Key, v.Value, v.Origin)
			}
			if err := t.write(a.std.out); err != nil {
				return err
			}
			a.std.note("the file is %s", shown.File)
			for _, variable := range ignored {
				a.std.note("the environment variable %s has no effect: set it in the file, because the setting belongs to the daemon", variable)
			}
			return nil
		},
	}
	addJSON(cmd, &asJSON)
	cmd.Flags().StringVar(&profile, "profile", "", "show what applies to a new VM of a profile")
	cmd.Flags().StringVar(&image, "image", "", "show what applies to a new VM of an image")
	completeFlag(cmd, "profile", profileNames)
	completeFlag(cmd, "image", imageNames)
	return cmd
}

// imageOrOwn returns the image that a command asks for which has no --image. Without a profile
// nobody asks for a VM.
func imageOrOwn(a *app, profile, image string) string {
	if image == "" && profile != "" {
		return a.std.env("BANGER_IMAGE")
	}
	return image
}
