package cli

import (
	"fmt"
	"strings"

	"banger/api"

	"github.com/spf13/cobra"
)

func newVMHealth(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "health NAME",
		Short: "Show how each part of a VM is",
		Long: `Show how each part of a VM is: its VMM, the link to the guest's agent, the agent
itself, the guest's clock, its disk and its network; and what to type if one is wrong.
A part is unknown while another has to be right first. Nothing is changed.

The exit status is 1 if a part is wrong.`,
		Example:           "  banger vm health dev\n  banger vm health --json dev",
		Args:              arguments(1, 1, "the name of one VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			health, err := c.VMs().Health(cmd.Context(), args[0])
			if err != nil {
				return olderDaemon(err, "/health", "vm health")
			}
			if asJSON {
				err = printJSON(a.std.out, "health", health)
			} else {
				err = a.printHealth(health)
			}
			if err == nil && !health.Well {
				return statusError(exitFailed)
			}
			return err
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func (a *app) printHealth(health api.VMHealth) error {
	var b strings.Builder
	for _, part := range health.Parts {
		fmt.Fprintf(&b, "%-7s  %s: %s\n", part.Status, printable(part.Name), printable(part.Found))
		if part.Fix != "" {
			fmt.Fprintf(&b, "           try: %s\n", printable(part.Fix))
		}
	}
	_, err := fmt.Fprint(a.std.out, b.String())
	return err
}
