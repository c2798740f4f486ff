package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"banger/internal/system"

	"github.com/spf13/cobra"
)

func newSystemStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show what is installed and its status",
		Long:    "Show what is installed and the status of both daemons. The exit status is 1 if one of\nthem does not answer.",
		Example: "  banger system status\n  banger system status --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := thisMachine().Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(a.std.out, "", s)
			} else {
				err = printSystem(a.std.out, s, time.Now())
			}
			if err == nil && !s.Healthy() {
				return statusError(exitFailed)
			}
			return err
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func firecrackerLine(f system.FirecrackerState) string {
	switch {
	case f.Unknown:
		return "unknown: " + f.Problem
	case f.Version == "":
		return f.Problem
	case f.Path == "": // a helper of an older version
		return f.Version
	}
	return f.Version + " at " + f.Path
}

func namesLine(n system.NamesState) string {
	switch {
	case n.Unknown:
		return "unknown: " + n.Problem
	case n.Problem != "":
		return "do not resolve: " + n.Problem
	case len(n.Taken) > 0:
		return "NAME.vm, NAME.banger; this network has " + strings.Join(n.Taken, ", ")
	}
	return "NAME.vm, NAME.banger"
}

func printSystem(w io.Writer, s system.Status, now time.Time) error {
	r := s.Install
	err := fields(w, "owner", fmt.Sprintf("%s (uid %d)", r.Owner, r.UID), "version", fmt.Sprintf("%s (commit %s)", r.Version, r.Commit),
		"built", moment(&r.BuiltAt), "installed", moment(&r.InstalledAt), "uids of VMs", fmt.Sprintf("%d to %d", r.UIDBase, r.UIDBase+r.UIDCount-1),
		"network", r.Network, "firecracker", firecrackerLine(s.Firecracker),
		"names of VMs", namesLine(s.Names), "VMs", fmt.Sprintf("%d running", s.Running))
	if err != nil {
		return err
	}
	t := newTable("UNIT", "STATE", "PID", "FOR", "VERSION", "PROBLEM")
	for _, u := range []system.Service{s.Helper, s.Daemon} {
		pid, since := "-", "-"
		if u.PID != 0 {
			pid = strconv.Itoa(u.PID)
		}
		if !u.Since.IsZero() {
			since = span(now.Sub(u.Since))
		}
		t.add(u.Unit, u.State, pid, since, u.Version, u.Error)
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return t.write(w)
}
