package cli

import (
	"fmt"
	"strconv"
	"syscall"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/daemonstart"
	"banger/internal/paths"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newDaemon(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Manage the daemon",
		Long: `Manage the daemon, bangerd, which does the work. Any command that needs it starts
it, and VMs keep running when it stops. After ` + "`banger system install`" + ` systemd runs it.`,
		Example: "  banger daemon status",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newDaemonStatus(a), newDaemonRun(), newDaemonStop(a))
	return cmd
}

// runningClient returns a client that does not start the daemon.
func (a *app) runningClient() (*client.Client, paths.Paths, error) {
	p, err := paths.Choose()
	if err != nil {
		return nil, p, err
	}
	return daemonstart.Running(p), p, nil
}

func newDaemonStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the daemon's status",
		Long:    "Show the daemon's status. This does not start it; the exit status is 1 if it is not running.",
		Example: "  banger daemon status\n  banger daemon status --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, p, err := a.runningClient()
			if err != nil {
				return err
			}
			s, err := c.Daemon().Status(cmd.Context())
			if err != nil {
				return notRunning(err, p)
			}
			if asJSON {
				return printJSON(a.out, "", s)
			}
			if s.Degraded != "" {
				a.note("the daemon may be unable to record its work: %s", s.Degraded)
			}
			return fields(a.out, "pid", strconv.Itoa(s.PID), "version", fmt.Sprintf("%s (commit %s)", s.Version, s.Commit),
				"running for", span(time.Since(s.StartedAt)), "socket", s.Socket, "home", s.Home,
				"VMs", fmt.Sprintf("%d, %d running", s.VMs, s.Running), "memory", size.Format(s.RSSBytes))
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func notRunning(err error, p paths.Paths) error {
	switch {
	case api.KindOf(err) != api.KindNotFound:
		return err
	case p.Managed:
		return api.Errorf(api.KindNotFound, "the daemon is not running").WithHint("systemctl status bangerd")
	}
	return api.Errorf(api.KindNotFound, "the daemon is not running").WithHint("banger ps   starts it, as other commands do")
}

// ofSystemd refuses a verb that is systemd's in system mode.
func ofSystemd(verb string) error {
	return api.Errorf(api.KindConflict, "cannot %s the daemon: it is a system service, and systemd runs it", verb).
		WithHint("sudo systemctl %s bangerd", verb)
}

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

func newDaemonStop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "stop",
		Short:   "Stop the daemon; VMs keep running",
		Example: "  banger daemon stop",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := paths.Choose()
			if err != nil {
				return err
			}
			if p.Managed {
				return ofSystemd("stop")
			}
			if err := daemonstart.StopAndWait(cmd.Context(), p); err != nil {
				return notRunning(err, p)
			}
			a.note("the daemon has stopped")
			return nil
		},
	}
}
