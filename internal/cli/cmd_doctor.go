package cli

import (
	"fmt"
	"strings"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/doctor"
	"banger/internal/paths"
	"banger/internal/rootapi"

	"github.com/spf13/cobra"
)

func newDoctor(a *app) *cobra.Command {
	var asJSON, leaks, try bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do and what it lacks",
		Long: `Say what this machine can do, what it lacks, why that matters and what to type.
The status is 1 where something that banger needs is missing.

With --try, start a guest too: what a look cannot know, a start shows. It is made in
the ordinary way from an image with nothing in it, which needs no network, and is
removed again; where it fails, the step is named. The status is 1 then.

With --leaks, compare what the host holds with the VMs that there are, both ways,
and change nothing: what carries banger's names and belongs to no VM that runs,
and what a VM that runs lacks. The status is 1 where there is any. What an
operation works on just now is left out.`,
		Example: "  banger doctor\n  banger doctor --try\n  banger doctor --json\n  banger doctor --leaks",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if leaks && try {
				return usagef(cmd, "--leaks and --try exclude each other")
			}
			if leaks {
				return a.findLeaks(cmd, asJSON)
			}
			checks, err := a.examine(cmd)
			if err != nil {
				return err
			}
			var tried *trial
			if try {
				tried = a.try(cmd.Context())
				checks = append(checks, tried.check())
			}
			if asJSON {
				err = printJSON(a.out, "", struct {
					Checks []api.Check `json:"checks"`
					Trial  *trial      `json:"trial,omitempty"`
				}{append([]api.Check{}, checks...), tried})
			} else {
				err = a.printChecks(checks, try)
			}
			if err == nil && tried != nil && tried.Error != nil && a.signals.signal() != 0 {
				return tried.Error // Ctrl-C is no finding
			}
			for _, check := range checks {
				if check.Status == doctor.Fail && err == nil {
					err = statusError(exitFailed)
				}
			}
			return err
		},
	}
	addJSON(cmd, &asJSON)
	cmd.Flags().BoolVar(&try, "try", false, "start a guest too, and remove it again")
	cmd.Flags().BoolVar(&leaks, "leaks", false, "compare what the host holds with the VMs instead")
	return cmd
}

// examine asks the daemon. Where it cannot start, that is a finding too, and the
// rest is examined from here.
func (a *app) examine(cmd *cobra.Command) ([]api.Check, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	found, err := c.Doctor(cmd.Context())
	if err == nil {
		return found.Checks, nil
	}
	if a.signals.signal() != 0 {
		return nil, err
	}
	p, pathErr := paths.Choose()
	if pathErr != nil {
		return nil, pathErr
	}
	e := api.AsError(err)
	daemon := api.Check{Name: "daemon", Status: doctor.Fail, Found: e.Message, Why: "it does all the work", Fix: e.Hint}
	h := doctor.ThisHost(p, doctor.Probes{})
	if p.Managed { // the helper may answer all the same
		version := buildinfo.Get().Version
		h.System = &doctor.System{Version: version, Helper: &rootapi.Client{Socket: paths.RootSocket, Version: version}}
	}
	return append([]api.Check{daemon}, doctor.Run(cmd.Context(), h)...), nil
}

// printChecks prints findings. tried says that a guest was started, too.
func (a *app) printChecks(checks []api.Check, tried bool) error {
	var b strings.Builder
	wrong := 0
	for _, check := range checks {
		fmt.Fprintf(&b, "%s  %s: %s\n", a.mark(check.Status), printable(check.Name), printable(check.Found))
		if check.Status == doctor.OK {
			continue
		}
		wrong++
		fmt.Fprintf(&b, "      why: %s\n", printable(check.Why))
		if check.Fix != "" {
			fmt.Fprintf(&b, "      try: %s\n", printable(check.Fix))
		}
	}
	switch {
	case wrong == 0 && tried:
		b.WriteString("\nAll is well.\n")
	case wrong == 0:
		b.WriteString("\nAll that can be looked at is well. Whether a guest starts, only a start shows: banger doctor --try\n")
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

// mark is a status in four columns, coloured where that is welcome.
func (a *app) mark(status string) string {
	text := fmt.Sprintf("%-4s", status)
	colours := map[string]string{doctor.OK: "32", doctor.Warn: "33", doctor.Fail: "31"}
	if code := colours[status]; code != "" && a.colour(a.out) {
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	return text
}
