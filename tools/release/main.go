// Command release makes a release and maintains the repository that `banger update`
// trusts. docs/release.md explains each step.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"banger/api"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		var e *api.Error
		if errors.As(err, &e) && e.Hint != "" {
			fmt.Fprintln(os.Stderr, "  try:", e.Hint)
		}
		stop()
		os.Exit(1)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use: "release", Short: "Make releases, and maintain the repository that `banger update` trusts",
		SilenceErrors: true, SilenceUsage: true,
	}
	c.AddCommand(buildCommand(), checkCommand(), keysCommand(), publishCommand(), withdrawCommand(),
		renewCommand(), timestampCommand(), rotateCommand(), statusCommand())
	return c
}

// say reports what is being done.
func say(what string) { fmt.Fprintln(os.Stderr, "release:", what) }
