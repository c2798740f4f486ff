package cli

import (
	"context"
	"errors"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newKernelList(a *app) *cobra.Command {
	var available, refresh bool
	cmd := list[api.Kernel]{
		one: "kernel", many: "kernels", none: "no kernels yet; `banger kernel pull` gets the distribution's", table: kernelTable,
		get: func(ctx context.Context, c *client.Client) ([]api.Kernel, error) { return c.Kernels().List(ctx) },
	}.command(a)
	cmd.Long = `List the kernels in the cache. With --available, list the kernels for virtual machines
that this machine's package sources have, and which of them are in the cache: by the
package lists that banger has fetched, without asking a server. --refresh fetches the
lists first. "banger kernel pull" gets the one that is marked as the default.`
	cmd.Example += "\n  banger kernel list --available"
	cmd.Flags().BoolVar(&available, "available", false, "list what banger kernel pull can get")
	cmd.Flags().BoolVar(&refresh, "refresh", false, "with --available: fetch the package lists first")
	cached := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case available:
			return a.availableKernels(cmd, refresh)
		case refresh:
			return usagef(cmd, "--refresh is for --available")
		}
		return cached(cmd, args)
	}
	return cmd
}

// availableKernels lists what a pull can get.
func (a *app) availableKernels(cmd *cobra.Command, refresh bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	found, err := c.Kernels().Available(cmd.Context(), refresh)
	if err != nil {
		return err
	}
	if asJSON, err := cmd.Flags().GetBool("json"); asJSON || err != nil {
		return errors.Join(err, printJSON(a.std.out, "available", found))
	}
	if len(found.Kernels) > 0 {
		if err := availableTable(found.Kernels).write(a.std.out); err != nil {
			return err
		}
	}
	a.std.note("by the package lists of %s; --refresh fetches them again", ago(time.Now(), found.ListsFetchedAt))
	return nil
}

func availableTable(kernels []api.AvailableKernel) *table {
	t := newTable("RELEASE", "VERSION", "DOWNLOAD", "DEFAULT", "IN THE CACHE")
	for _, k := range kernels {
		isDefault, here := "-", "-"
		if k.Default {
			isDefault = "yes"
		}
		switch {
		case k.Outdated:
			here = short(k.Digest) + ", of another version"
		case k.Digest != "":
			here = short(k.Digest)
		}
		t.add(k.Release, k.Version, size.Format(k.SizeBytes), isDefault, here)
	}
	return t
}

func kernelTable(kernels []api.Kernel, now time.Time) *table {
	t := newTable("NAME", "RELEASE", "DIGEST", "SIZE", "CREATED", "USED BY", "SOURCE")
	for _, k := range kernels {
		t.add(names(k.Names), k.Release, short(k.Digest), size.Format(k.SizeBytes), ago(now, k.CreatedAt), users(k.UsedBy), k.Source)
	}
	return t
}
