package cli

import (
	"syscall"

	"banger/api"
	"banger/internal/daemonstart"
	"banger/internal/paths"

	"github.com/spf13/cobra"
)

func newDaemonRun() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long:  "Run the daemon in the foreground, with its log on standard error, until Ctrl-C.",
		Example: `  banger daemon run
  banger daemon run 2> bangerd.log`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := paths.Choose()
			if err != nil {
				return err
			}
			if p.Managed {
				return ofSystemd("start")
			}
			program, err := daemonstart.Program()
			if err != nil {
				return err
			}
			err = syscall.Exec(program, []string{program}, daemonstart.Env(p))
			return api.Errorf(api.KindInternal, "cannot run %s: %w", program, err)
		},
	}
}

// ofSystemd refuses a verb that is systemd's in system mode.
func ofSystemd(verb string) error {
	return api.Errorf(api.KindConflict, "cannot %s the daemon: it is a system service, and systemd runs it", verb).
		WithHint("sudo systemctl %s bangerd", verb)
}
