package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMStart(a *app) *cobra.Command {
	var req api.StartVM
	cmd := a.newEach(eachVM{
		use: "start", short: "Start stopped VMs", example: "  banger vm start dev\n  banger vm start dev web-1",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Start(ctx, name, req, report)
			return err
		},
	})
	forceMemory(cmd, &req.Force)
	return cmd
}

func newVMRestart(a *app) *cobra.Command {
	var req api.StartVM
	cmd := a.newEach(eachVM{
		use: "restart", short: "Stop VMs and start them again", example: "  banger vm restart dev",
		work: func(ctx context.Context, c *client.Client, name string, report api.Report) error {
			_, err := c.VMs().Restart(ctx, name, req, report)
			return err
		},
	})
	forceMemory(cmd, &req.Force)
	return cmd
}

// forceMemory adds the flag that lets running VMs have more memory than the host.
func forceMemory(cmd *cobra.Command, force *bool) {
	cmd.Flags().BoolVar(force, "force", false, "start it even if the running VMs would have more memory than this host")
}

// eachVM describes a command that does the same to every VM named.
type eachVM struct {
	use, short, long, example string
	work                      func(ctx context.Context, c *client.Client, name string, report api.Report) error
}

func (a *app) newEach(e eachVM) *cobra.Command {
	return &cobra.Command{
		Use:               e.use + " NAME...",
		Short:             e.short,
		Long:              e.long,
		Example:           e.example,
		Args:              arguments(1, -1, "the name of a VM"),
		ValidArgsFunction: a.completeArgs(-1, a.vmNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runEach(cmd.Context(), args, e.work) },
	}
}

// runEach does work to every VM named and prints the names for which it succeeded.
func (a *app) runEach(ctx context.Context, names []string, work func(context.Context, *client.Client, string, api.Report) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(ctx context.Context, name string, report api.Report) (string, error) {
		return name, work(ctx, c, name, report)
	})
}
