package cli

import (
	"context"
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
	d := examination{a: a}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine can do and what it lacks",
		Long: `Show what this machine can do, what it lacks, why that matters and what to type.
The exit status is 1 if something that banger needs is missing.

With --try, also start a guest: only a start proves that guests start. The guest is
created in the ordinary way from an empty image, which needs no network, and is
removed again. If it fails, the failed step is named and the exit status is 1.

With --leaks, compare the host's objects with the existing VMs, in both directions:
objects with banger's names that belong to no running VM, and objects that a running
VM lacks. Nothing is changed. The exit status is 1 if there are any. Objects of VMs
with an operation in progress are left out.`,
		Example: "  banger doctor\n  banger doctor --try\n  banger doctor --json\n  banger doctor --leaks",
		Args:    noArgs,
		RunE:    d.run,
	}
	addJSON(cmd, &d.asJSON)
	cmd.Flags().BoolVar(&d.try, "try", false, "also start a guest, and remove it again")
	cmd.Flags().BoolVar(&d.leaks, "leaks", false, "compare the host's objects with the VMs instead")
	return cmd
}

// examination is one `banger doctor`.
type examination struct {
	a                  *app
	asJSON, leaks, try bool
}

func (d *examination) run(cmd *cobra.Command, _ []string) error {
	if d.leaks && d.try {
		return usagef(cmd, "--leaks and --try exclude each other")
	}
	if d.leaks {
		return d.findLeaks(cmd.Context())
	}
	checks, err := d.examine(cmd.Context())
	if err != nil {
		return err
	}
	var tried *trial
	if d.try {
		tried = d.tryStart(cmd.Context())
		checks = append(checks, tried.check())
	}
	if d.asJSON {
		err = printJSON(d.a.std.out, "", struct {
			Checks []api.Check `json:"checks"`
			Trial  *trial      `json:"trial,omitempty"`
		}{append([]api.Check{}, checks...), tried})
	} else {
		err = d.print(checks)
	}
	if err == nil && tried != nil && tried.Error != nil && d.a.signals.signal() != 0 {
		return tried.Error // Ctrl-C is not a finding
	}
	for _, check := range checks {
		if check.Status == doctor.Fail && err == nil {
			err = statusError(exitFailed)
		}
	}
	return err
}

// examine asks the daemon for its findings. If the daemon cannot start, that is a
// finding too, and this process examines the rest.
func (d *examination) examine(ctx context.Context) ([]api.Check, error) {
	c, err := d.a.client()
	if err != nil {
		return nil, err
	}
	found, err := c.Daemon().Doctor(ctx)
	if err == nil {
		return found.Checks, nil
	}
	if d.a.signals.signal() != 0 {
		return nil, err
	}
	p, pathErr := paths.Choose()
	if pathErr != nil {
		return nil, pathErr
	}
	e := api.AsError(err)
	daemon := api.Check{Name: "daemon", Status: doctor.Fail, Found: e.Message, Why: "it does all the work", Fix: e.Hint}
	h := doctor.ThisHost(p, doctor.Probes{})
	if p.Managed { // the helper may answer nevertheless
		version := buildinfo.Get().Version
		h.System = &doctor.System{Version: version, Helper: &rootapi.Client{Socket: paths.RootSocket, Version: version}}
	}
	return append([]api.Check{daemon}, doctor.Run(ctx, h)...), nil
}

// print prints findings.
func (d *examination) print(checks []api.Check) error {
	var b strings.Builder
	wrong := 0
	for _, check := range checks {
		fmt.Fprintf(&b, "%s  %s: %s\n", d.mark(check.Status), printable(check.Name), printable(check.Found))
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
	case wrong == 0 && d.try:
		b.WriteString("\nEverything is in order.\n")
	case wrong == 0:
		b.WriteString("\nEverything checked is in order. To check that a guest starts: banger doctor --try\n")
	}
	_, err := fmt.Fprint(d.a.std.out, b.String())
	return err
}

// mark returns a status in four columns, coloured if the terminal supports it.
func (d *examination) mark(status string) string {
	text := fmt.Sprintf("%-4s", status)
	colours := map[string]string{doctor.OK: "32", doctor.Warn: "33", doctor.Fail: "31"}
	if code := colours[status]; code != "" && d.a.std.colour(d.a.std.out) {
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	return text
}
