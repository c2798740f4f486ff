package cli

import (
	"context"
	"strings"

	"banger/api"
	"banger/internal/guest/filecopy"
	"banger/internal/workspace/review"

	"github.com/spf13/cobra"
)

func newWorkDiff(a *app) *cobra.Command {
	var stat, raw bool
	var base string
	cmd := &cobra.Command{
		Use:   "diff [PATH]",
		Short: "Show what has changed in the VM, as a patch",
		Long: `Show what has changed in the workspace's VM since the files were sent, or since they
were last applied here. Control characters are made visible.

Changes that deserve a look before they reach this host are named on standard error:
files that run here without being asked for or by habit, such as hooks, editor tasks
and scripts of packages; new programs; links that leave the tree; and text that a
reader would not see.

--raw prints a patch for "git apply", with all contents and characters.`,
		Example: "  banger work diff\n  banger work diff --stat\n  banger work diff --raw > work.patch",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if stat && raw {
				return usagef(cmd, "--stat and --raw exclude each other")
			}
			w, unlock, err := a.lookAt(cmd.Context(), pathOf(args))
			if err != nil {
				return err
			}
			defer unlock()
			show := review.Patch
			switch {
			case stat:
				show = a.statOf
			case raw:
				show = review.BinaryPatch
			}
			from, err := diffBase(cmd, w, base)
			if err != nil {
				return err
			}
			text, err := show(cmd.Context(), w.Repo, from, w.guest)
			if err != nil {
				return err
			}
			if !raw {
				text = review.Printable(text)
			}
			if _, err := a.std.out.Write(text); err != nil {
				return err
			}
			return a.printMarksSince(cmd.Context(), w, from)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&stat, "stat", false, "a line for each file")
	f.BoolVar(&raw, "raw", false, "a patch for git apply")
	f.StringVar(&base, "base-commit", "", "show what differs from this `COMMIT` of your repository instead, your own changes since it included")
	return cmd
}

func (a *app) statOf(ctx context.Context, repo review.Repo, from, to string, paths ...string) ([]byte, error) {
	return review.Stat(ctx, repo, from, to, width(a.std.out), paths...)
}

// diffBase returns the commit since which changes are shown.
func diffBase(cmd *cobra.Command, w work, name string) (string, error) {
	if !cmd.Flags().Changed("base-commit") {
		return w.shipment.Base(), nil
	}
	out, err := w.Repo.Git(cmd.Context(), nil, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	if api.KindOf(err) == api.KindCanceled {
		return "", err
	}
	if err != nil {
		return "", api.Errorf(api.KindNotFound, "%s has no commit %.80q", w.Repo.Top(), name).WithHint("git log --oneline   lists commits")
	}
	return strings.TrimSpace(string(out)), nil
}

// printMarks names the changes that deserve a look.
func (a *app) printMarks(ctx context.Context, w work) error {
	return a.printMarksSince(ctx, w, w.shipment.Base())
}

func (a *app) printMarksSince(ctx context.Context, w work, base string) error {
	marks, err := review.Marks(ctx, w.Repo, base, w.guest)
	for _, m := range marks {
		a.std.note("look at %s: %s", filecopy.Quote(m.Path), m.Reason)
	}
	return err
}
