package cli

import (
	"context"
	"slices"
	"time"

	"banger/client"
	"banger/internal/config"
	"banger/internal/daemonstart"
	"banger/internal/paths"

	"github.com/spf13/cobra"
)

// completeTime bounds how long a completion takes.
const completeTime = 500 * time.Millisecond

// completeArgs completes at most limit arguments from names, each once. A negative limit
// means no limit.
func completeArgs(limit int, names func() []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if limit >= 0 && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		left := slices.DeleteFunc(names(), func(name string) bool { return slices.Contains(args, name) })
		return left, cobra.ShellCompDirectiveNoFileComp
	}
}

func completeFlag(cmd *cobra.Command, flag string, names func() []string) {
	// It fails only for an unknown flag, which TestEveryCommand would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, completeArgs(-1, names))
}

// completing asks a running daemon, for a short time; it does not start one.
func completing(ask func(ctx context.Context, c *client.Client) []string) []string {
	p, err := paths.Choose()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeTime)
	defer cancel()
	return ask(ctx, daemonstart.Running(p))
}

func vmNames() []string {
	return completing(func(ctx context.Context, c *client.Client) (names []string) {
		vms, _ := c.VMs().List(ctx) // no names if it fails
		for _, vm := range vms {
			names = append(names, vm.Name)
		}
		return names
	})
}

func snapshotNames() []string {
	return completing(func(ctx context.Context, c *client.Client) (names []string) {
		all, _ := c.Snapshots().List(ctx)
		for _, s := range all {
			names = append(names, snapshotName(s))
		}
		return names
	})
}

func imageNames() []string {
	return completing(func(ctx context.Context, c *client.Client) (names []string) {
		images, _ := c.Images().List(ctx)
		for _, image := range images {
			names = append(names, image.Names...)
		}
		return names
	})
}

func profileNames() []string {
	return completing(func(ctx context.Context, c *client.Client) (names []string) {
		shown, _ := c.Daemon().Config(ctx)
		for _, v := range shown.Values {
			if name, ok := config.ProfileOf(v.Key); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names
	})
}

func kernelNames() []string {
	return completing(func(ctx context.Context, c *client.Client) (names []string) {
		kernels, _ := c.Kernels().List(ctx)
		for _, kernel := range kernels {
			names = append(names, kernel.Names...)
		}
		return names
	})
}
