package cli

import (
	"fmt"
	"strconv"
	"time"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

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
				return printJSON(a.std.out, "", s)
			}
			if s.Degraded != "" {
				a.std.note("the daemon may be unable to record its work: %s", s.Degraded)
			}
			return fields(a.std.out, "pid", strconv.Itoa(s.PID), "version", fmt.Sprintf("%s (commit %s)", s.Version, s.Commit),
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
