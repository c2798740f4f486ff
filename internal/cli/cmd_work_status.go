package cli

import (
	"context"
	"fmt"
	"slices"

	"banger/internal/guest/filecopy"
	"banger/internal/workspace/review"

	"github.com/spf13/cobra"
)

// workStatus is the output of `banger work status --json`.
type workStatus struct {
	Workspace string       `json:"workspace"`
	VM        string       `json:"vm"`
	State     string       `json:"state"`
	Directory string       `json:"directory"`
	Sent      string       `json:"sent"`    // the commit
	Guest     string       `json:"guest"`   // the commit of the guest's files
	Changes   []workChange `json:"changes"` // since the files were sent, or last applied here
	Ignored   int          `json:"ignored"` // files that git ignores, which stay in the guest
	Here      []string     `json:"here"`    // paths that have changed here, and not come into the VM
	// Conflicts are the paths that changed on both sides, as "banger sync" found the last time.
	Conflicts []string `json:"conflicts"`

	committed bool // what was sent is HEAD's tree alone
}

type workChange struct {
	Status string `json:"status"` // A, M, D or T, as git has them, or C
	Path   string `json:"path"`
}

func newWorkStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [PATH]",
		Short: "List what has changed in the VM",
		Long: `List the files that have changed in the workspace's VM since they were sent, or since
both sides were last the same: A is new, M changed, D deleted, T of another type, and C
a conflict that "banger sync" has found. How many have changed here is said, too.`,
		Example: "  banger work status\n  banger work status --json ~/src/project",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, unlock, err := a.lookAt(cmd.Context(), pathOf(args))
			if err != nil {
				return err
			}
			defer unlock()
			changes, err := review.Changes(cmd.Context(), w.Repo, w.shipment.Base(), w.guest)
			if err != nil {
				return err
			}
			status := workStatus{
				Workspace: w.Repo.Top(), VM: w.vm.Name, State: string(w.vm.State), Directory: w.shipment.Directory,
				Sent: w.shipment.Commit, Guest: w.guest, Changes: []workChange{}, Ignored: w.ignored, Conflicts: []string{},
				committed: w.shipment.Committed,
			}
			for _, c := range w.shipment.Conflicts {
				status.Conflicts = append(status.Conflicts, c.Path)
			}
			for _, c := range changes {
				letter := review.Status(c)
				if slices.Contains(status.Conflicts, c.Path) {
					letter = "C"
				}
				status.Changes = append(status.Changes, workChange{letter, c.Path})
			}
			if status.Here, err = a.changedHere(cmd.Context(), w); err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.std.out, "work", status)
			}
			return a.printWork(w, status)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func (a *app) printWork(w work, s workStatus) error {
	for _, c := range s.Changes {
		if _, err := fmt.Fprintf(a.std.out, "%s %s\n", c.Status, printable(c.Path)); err != nil {
			return err
		}
	}
	summary := fmt.Sprintf("VM %s (%s), %s: ", s.VM, s.State, filecopy.Quote(s.Directory))
	switch {
	case len(s.Changes) == 0:
		a.std.note("%snothing has changed", summary)
	case a.from.given():
		a.std.note("%s%s: `%s` shows them, `%s` makes a branch of them", summary, plural(len(s.Changes), "change"),
			a.from.typed(w.Workspace, "banger work diff"), a.from.typed(w.Workspace, "banger work branch NAME"))
	default:
		a.std.note("%s%s: `banger work diff` shows them, `banger work apply` brings them here", summary, plural(len(s.Changes), "change"))
	}
	switch n := len(s.Here); {
	case n > 0 && s.committed:
		a.std.note("%s", changedInHEAD(n))
	case n > 0:
		a.std.note("%s: `banger sync` brings both sides together", changedHere(n))
	}
	return nil
}

// changedInHEAD is about a VM that was sent HEAD's tree alone.
func changedInHEAD(n int) string {
	if n == 1 {
		return "1 file has changed in HEAD, and is not in the VM as it is there: `banger up --new --commit` makes a VM of it"
	}
	return fmt.Sprintf("%d files have changed in HEAD, and are not in the VM as they are there: `banger up --new --commit` makes a VM of them", n)
}

// changedHere lists what has changed here since both sides were the same. In a clone of banger's
// that is nothing of the user's.
func (a *app) changedHere(ctx context.Context, w work) ([]string, error) {
	if a.from.given() {
		return []string{}, nil
	}
	return w.HostChanges(ctx, w.shipment)
}

func changedHere(n int) string {
	if n == 1 {
		return "1 file has changed here, and is not in the VM as it is here"
	}
	return fmt.Sprintf("%d files have changed here, and are not in the VM as they are here", n)
}
