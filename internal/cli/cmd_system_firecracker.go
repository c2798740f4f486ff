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
		Short: "Get Firecracker, or go back to the version before",
		Long: `Get the newest release of Firecracker, or another one, from its makers' release
page, and have new VMs use it. The archive's SHA-256 must be the one that is
published beside it, now and whenever it is got again. Only the programs
firecracker and jailer are taken out of it; they are tried, and then switched to
in one step. VMs run on with the version that they were started with.

The setting firecracker_url names another page. What the settings firecracker and
jailer name is used before what this command gets; what is in /usr/local/bin after.`,
		Example: `  sudo banger system firecracker                     # the newest
  sudo banger system firecracker --version 1.16.1
  sudo banger system firecracker --from firecracker-v1.16.1-x86_64.tgz   # without a network
  sudo banger system firecracker --rollback          # to the version before`,
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
	cmd.Flags().StringVar(&o.Want.File, "from", "", "an `ARCHIVE` that is there already, with its .sha256.txt beside it")
	cmd.Flags().BoolVar(&o.Back, "rollback", false, "go back to the version before")
	_ = cmd.MarkFlagFilename("from", "tgz")
	addJSON(cmd, &asJSON)
	return cmd
}

// getFirecracker gets it from where the settings say.
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
		text = "banger's own Firecracker is set aside; VMs get " + firecrackerLine(c.Used)
	case !c.Changed:
		text += " already"
	case c.Previous != "":
		text += "; it was " + c.Previous
	}
	if _, err := fmt.Fprintln(a.out, text); err != nil {
		return err
	}
	if len(c.Kept) > 0 {
		a.note("kept for VMs that run: %s", strings.Join(c.Kept, ", "))
	}
	for _, w := range c.Used.Warnings {
		a.note("%s", w)
	}
	if other := c.Other(); other != "" {
		a.note("%s", other)
	}
	return nil
}

// offerFirecracker gets Firecracker at the end of an installation where that is
// wanted. Who cannot be asked is told how.
func (a *app) offerFirecracker(ctx context.Context, h *system.Host, wanted bool) error {
	var err error
	if !wanted {
		now := h.AskFirecracker(ctx)
		if now.Version != "" || now.Unknown || now.NoKVM != "" { // without KVM nothing could use it
			return nil
		}
		wanted, err = a.yes(ctx, "VMs cannot use Firecracker, which starts them fastest: "+now.Problem+". Get it from its makers' release page?")
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

// questionTime bounds how long a question waits: an installation may have a terminal
// that nobody sits at.
const questionTime = time.Minute

// yes asks on a terminal. Where nobody can answer, or does, the answer is no.
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
	go func() { // which ends with the process, where nobody answers
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
		return false, api.Errorf(api.KindCanceled, "it was cancelled")
	}
}
