// Command lab makes, boots and controls the lab host: the machine for testing system
// mode. `make lab` runs its scenarios, `make lab-shell` opens a shell in it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"banger/api"
)

// exitStatus is the status of a command, which is returned without a message.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("status %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := root().ExecuteContext(ctx)
	stop()
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		if hint := api.AsError(err).Hint; hint != "" {
			fmt.Fprintln(os.Stderr, "  try:", hint)
		}
		os.Exit(1)
	}
}
