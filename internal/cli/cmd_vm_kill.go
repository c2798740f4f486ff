package cli

import (
	"context"
	"strings"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMKill(a *app) *cobra.Command {
	var signal string
	e := eachCommand{
		of:  vmKind,
		use: "kill", short: "Kill VMs immediately",
		long: `Kill VMs immediately, as if their power were cut. Prefer "banger vm stop".

With --signal, send another signal than SIGKILL to the VMM, the process that runs the
VM: TERM, INT, QUIT or ABRT, with or without SIG, or its number. Its guest is not shut
down either way. A VMM may take ten seconds to end; one that does not is left running,
with exit status 1. Other signals are refused: STOP, for example, suspends the VMM
without its guest noticing.`,
		example: "  banger vm kill dev\n  banger vm kill --signal TERM dev",
	}
	cmd := e.command(a)
	cmd.Flags().StringVar(&signal, "signal", string(api.SignalKill), "send `SIG` to the VMM")
	completeFlag(cmd, "signal", signalNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sig, err := api.ParseSignal(signal)
		if err != nil {
			return err
		}
		return a.runEach(cmd.Context(), args, func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			if sig == api.SignalKill { // every daemon knows that
				_, err := c.VMs().Kill(ctx, name, report)
				return err
			}
			_, err := c.VMs().Signal(ctx, name, string(sig), report)
			return olderDaemon(err, "/signal", "vm kill --signal")
		})
	}
	return cmd
}

func signalNames() []string {
	var all []string
	for _, s := range api.Signals() {
		all = append(all, string(s))
	}
	return all
}

// olderDaemon explains the error of a daemon that does not know the path of a request.
func olderDaemon(err error, path, command string) error {
	if api.KindOf(err) != api.KindNotFound || !strings.HasPrefix(err.Error(), "no such path") || !strings.Contains(err.Error(), path) {
		return err
	}
	return api.Errorf(api.KindUnsupported, "the daemon is older and does not know %s", command).
		WithHint("banger daemon stop   lets the next command start the new one; VMs keep running")
}
