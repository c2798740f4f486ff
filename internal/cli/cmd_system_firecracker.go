package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

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
			done, err := a.getFirecracker(cmd.Context(), a.machine(), o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.out, "", done)
			}
			return a.printFirecracker(done)
		},
	}
	cmd.Flags().StringVar(&o.Want.Version, "version", "", "the `VERSION` to get (default: the newest)")
	cmd.Flags().StringVar(&o.Want.File, "from", "", "a local `ARCHIVE`, with its .sha256.txt beside it")
	cmd.Flags().BoolVar(&o.Back, "rollback", false, "return to the previous version")
	_ = cmd.MarkFlagFilename("from", "tgz")
	addJSON(cmd, &asJSON)
	return cmd
}

// getFirecracker installs Firecracker from the place that the settings name.
func (a *app) getFirecracker(ctx context.Context, h *system.Host, o system.FirecrackerOptions) (system.FirecrackerChange, error) {
	path, err := h.FirecrackerConfig()
	if err != nil {
		return system.FirecrackerChange{}, err
	}
	settings, err := config.Load(path, a.env, config.DetectHost())
	if err != nil {
		return system.FirecrackerChange{}, err
	}
	if o.Want.File != "" {
		if o.Want.File, err = filepath.Abs(o.Want.File); err != nil {
			return system.FirecrackerChange{}, api.AsError(err)
		}
	}
	o.Source, o.Client = settings.FirecrackerURL, fcrelease.NewClient(fetch.Options{})
	progress := a.newProgress()
	defer progress.done()
	o.Progress = func(what string, done, total int64) {
		progress.report(api.Progress{Step: "firecracker", Message: "getting " + what, Done: done, Total: total, Unit: "bytes"})
	}
	return h.GetFirecracker(ctx, o, func(step string) {
		progress.done() // each step has a line of its own
		a.step(step)
	})
}

func (a *app) printFirecracker(c system.FirecrackerChange) error {
	text := "Firecracker " + c.Version + " is installed"
	switch {
	case c.Version == "":
		text = "banger's own Firecracker is disabled; VMs get " + firecrackerLine(c.Used)
	case !c.Changed:
		text += " already"
	case c.Previous != "":
		text += "; it was " + c.Previous
	}
	if _, err := fmt.Fprintln(a.out, text); err != nil {
		return err
	}
	if len(c.Kept) > 0 {
		a.note("still used by running VMs: %s", strings.Join(c.Kept, ", "))
	}
	for _, w := range c.Used.Warnings {
		a.note("%s", w)
	}
	if other := c.Other(); other != "" {
		a.note("%s", other)
	}
	return nil
}

// offerFirecracker installs Firecracker at the end of an installation if the user agrees.
// If nobody can be asked, it prints the command instead.
func (a *app) offerFirecracker(ctx context.Context, h *system.Host, wanted bool) error {
	var err error
	if !wanted {
		now := h.AskFirecracker(ctx)
		if now.Version != "" || now.Unknown || now.NoKVM != "" { // without KVM nothing could use it
			return nil
		}
		wanted, err = a.yes(ctx, "VMs cannot use Firecracker, which starts them fastest: "+now.Problem+". Download it from the project's release page?")
	}
	var done system.FirecrackerChange
	switch {
	case err == nil && !wanted:
		a.note("for VMs that start faster: %s", system.FirecrackerHint)
		return nil
	case err == nil:
		done, err = a.getFirecracker(ctx, h, system.FirecrackerOptions{})
	}
	if err != nil {
		e := api.AsError(err)
		return api.Errorf(e.Kind, "banger is installed, but not Firecracker: %w", err).WithHint("%s", cmp.Or(e.Hint, system.FirecrackerHint))
	}
	return a.printFirecracker(done)
}

// questionTime bounds how long a question waits: nobody may be at the terminal.
const questionTime = time.Minute

// yes asks on a terminal. Without a terminal, or without an answer, the result is no.
func (a *app) yes(ctx context.Context, question string) (bool, error) {
	_, in := terminal(a.in)
	_, out := terminal(a.err)
	if !in || !out {
		return false, nil
	}
	a.mu.Lock()
	fmt.Fprint(a.err, printable("banger: "+question+" [Y/n] "))
	a.mu.Unlock()
	answer := make(chan string, 1)
	go func() { // ends with the process if nobody answers
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if err != nil {
			line = "no"
		}
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-answer:
		return line == "" || line == "y" || line == "yes", nil
	case <-time.After(questionTime):
		fmt.Fprintln(a.err)
		return false, nil
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return false, api.Errorf(api.KindCanceled, "cancelled")
	}
}
