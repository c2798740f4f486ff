package cli

import (
	"slices"

	"banger/api"

	"github.com/spf13/cobra"
)

func newVMSync(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sync NAME",
		Short: "Copy the files that the settings name into a running VM",
		Long: `Copy the files into a running VM that the settings file_sync, dotfiles and
git_identity name, as at each of its starts. A file in the guest is replaced if it
differs, and a directory merged: what else is in it stays. The exit status is 1 if
an entry could not be copied. An entry that this host lacks is skipped.`,
		Example:           "  banger vm sync dev\n  banger vm sync --json dev",
		Args:              arguments(1, 1, "the name of a VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			done, err := c.VMs().SyncFiles(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.showSynced(done, asJSON); err != nil {
				return err
			}
			if slices.ContainsFunc(done.Files, func(f api.SyncedFile) bool { return f.Result == api.SyncFailed }) {
				return statusError(1)
			}
			return nil
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

// showSynced prints what became of each entry, and names the files that were skipped.
func (a *app) showSynced(done api.SyncedFiles, asJSON bool) error {
	if asJSON {
		return printJSON(a.std.out, "sync", done)
	}
	if len(done.Files) == 0 {
		a.std.note("no files to copy: banger config show --help   describes file_sync and dotfiles")
		return nil
	}
	t := newTable("HOST", "GUEST", "RESULT")
	for _, f := range done.Files {
		result := f.Result
		if f.Reason != "" {
			result += ": " + f.Reason
		}
		t.add(f.Host, f.Guest, result)
		for _, w := range f.Warnings {
			a.std.note("%s: %s", f.Host, printable(w))
		}
	}
	return t.write(a.std.out)
}
