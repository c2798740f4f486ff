package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/config"
	"banger/internal/fetch"
	"banger/internal/system"
	"banger/internal/system/fcrelease"

	"github.com/spf13/cobra"
)

func newSystemFirecracker(a *app) *cobra.Command {
	var o system.FirecrackerOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "firecracker",
		Short: "Install Firecracker, or return to the previous version",
		Long: `Download the newest release of Firecracker, or another one, from its project's
release page, and have new VMs use it. The archive's SHA-256 must match the one
published beside it, now and at every later download. Only the programs
firecracker and jailer are extracted; they are tested, and then replace the
previous ones in one step. VMs keep running with the version that they were
started with.

The setting firecracker_url names another page. Programs that the settings
firecracker and jailer name take precedence over those that this command installs,
and these over those in /usr/local/bin.`,
		Example: `  sudo banger system firecracker                     # the newest
  sudo banger system firecracker --version 1.16.1
  sudo banger system firecracker --from firecracker-v1.16.1-x86_64.tgz   # without a network
  sudo banger system firecracker --rollback          # to the previous version`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Back && (o.Want != fcrelease.Want{}) || o.Want.Version != "" && o.Want.File != "" {
				return usagef(cmd, "these flags cannot be used together")
			}
			done, err := firecrackerSetup{a.std, thisMachine()}.get(cmd.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.std.out, "", done)
			}
			return firecrackerSetup{std: a.std}.print(done)
		},
	}
	cmd.Flags().StringVar(&o.Want.Version, "version", "", "the `VERSION` to get (default: the newest)")
	cmd.Flags().StringVar(&o.Want.File, "from", "", "a local `ARCHIVE`, with its .sha256.txt beside it")
	cmd.Flags().BoolVar(&o.Back, "rollback", false, "return to the previous version")
	_ = cmd.MarkFlagFilename("from", "tgz")
	addJSON(cmd, &asJSON)
	return cmd
}

// firecrackerSetup installs Firecracker on a machine.
type firecrackerSetup struct {
	std *streams
	h   *system.Host
}

// get installs Firecracker from the place that the settings name.
func (f firecrackerSetup) get(ctx context.Context, o system.FirecrackerOptions) (system.FirecrackerChange, error) {
	path, err := f.h.FirecrackerConfig()
	if err != nil {
		return system.FirecrackerChange{}, err
	}
	settings, err := config.Load(path, f.std.env, config.DetectHost())
	if err != nil {
		return system.FirecrackerChange{}, err
	}
	if o.Want.File != "" {
		if o.Want.File, err = filepath.Abs(o.Want.File); err != nil {
			return system.FirecrackerChange{}, api.AsError(err)
		}
	}
	o.Source, o.Client = settings.FirecrackerURL, fcrelease.NewClient(fetch.Options{})
	progress := f.std.newProgress()
	defer progress.done()
	o.Progress = func(what string, done, total int64) {
		progress.report(api.Progress{Step: "firecracker", Message: "getting " + what, Done: done, Total: total, Unit: "bytes"})
	}
	return f.h.GetFirecracker(ctx, o, func(step string) {
		progress.done() // each step has a line of its own
		f.std.step(step)
	})
}

// print prints what an installation has changed.
func (f firecrackerSetup) print(c system.FirecrackerChange) error {
	text := "Firecracker " + c.Version + " is installed"
	switch {
	case c.Version == "":
		text = "banger's own Firecracker is disabled; VMs get " + firecrackerLine(c.Used)
	case !c.Changed:
		text += " already"
	case c.Previous != "":
		text += "; it was " + c.Previous
	}
	if _, err := fmt.Fprintln(f.std.out, text); err != nil {
		return err
	}
	if len(c.Kept) > 0 {
		f.std.note("still used by running VMs: %s", strings.Join(c.Kept, ", "))
	}
	for _, w := range c.Used.Warnings {
		f.std.note("%s", w)
	}
	if other := c.Other(); other != "" {
		f.std.note("%s", other)
	}
	return nil
}

// offer installs Firecracker at the end of an installation if the user agrees.
// If nobody can be asked, it prints the command instead.
func (f firecrackerSetup) offer(ctx context.Context, wanted bool) error {
	var err error
	if !wanted {
		now := f.h.AskFirecracker(ctx)
		if now.Version != "" || now.Unknown || now.NoKVM != "" { // without KVM nothing could use it
			return nil
		}
		wanted, err = f.std.yes(ctx, "VMs cannot use Firecracker, which starts them fastest: "+now.Problem+". Download it from the project's release page?")
	}
	var done system.FirecrackerChange
	switch {
	case err == nil && !wanted:
		f.std.note("for VMs that start faster: %s", system.FirecrackerHint)
		return nil
	case err == nil:
		done, err = f.get(ctx, system.FirecrackerOptions{})
	}
	if err != nil {
		e := api.AsError(err)
		return api.Errorf(e.Kind, "banger is installed, but not Firecracker: %w", err).WithHint("%s", cmp.Or(e.Hint, system.FirecrackerHint))
	}
	return f.print(done)
}
