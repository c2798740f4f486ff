package cli

import (
	"context"
	"os"
	"slices"

	"banger/internal/host/execx"
	"banger/internal/paths"
	"banger/internal/workspace"
	"banger/internal/workspace/remote"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// origin is the repository that --from names, instead of a directory.
type origin struct{ text string }

func (o *origin) given() bool { return o.text != "" }

// flag adds the flag for the workspace of a repository that the user has no work tree of.
func (o *origin) flag(f *pflag.FlagSet) {
	f.StringVar(&o.text, "from", "", "instead of PATH: a clone of `REMOTE`, a URL or the name of a remote, with #REF for a branch, tag or commit")
}

// alone refuses a directory beside --from.
func (o *origin) alone(cmd *cobra.Command, directories int) error {
	if o.given() && directories > 0 {
		return usagef(cmd, "--from and a directory exclude each other")
	}
	return nil
}

// needFiles are the subcommands of work that change files of the user's.
var needFiles = []string{"apply", "undo", "merge"}

// check refuses --from for what it makes no sense with.
func (o *origin) check(cmd *cobra.Command, args []string) error {
	if o.given() && slices.Contains(needFiles, cmd.Name()) {
		return usagef(cmd, "%s is for files of yours, which --from has none of: banger work branch NAME --from REMOTE makes a branch", cmd.CommandPath())
	}
	directories := len(args)
	if cmd.Name() == "branch" {
		directories--
	}
	return o.alone(cmd, directories)
}

// open returns the workspace that --from names.
func (o *origin) open(ctx context.Context) (*workspace.Workspace, remote.Remote, error) {
	p, err := paths.User()
	if err != nil {
		return nil, remote.Remote{}, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, remote.Remote{}, err
	}
	r, err := remote.Find(ctx, o.text, dir)
	if err != nil {
		return nil, r, err
	}
	w, err := ofDaemon(workspace.OpenRemote(ctx, r, p.Workspaces()))
	return w, r, err
}

// typed is a command for the workspace, as the user has called that.
func (o *origin) typed(w *workspace.Workspace, command string) string {
	if !o.given() {
		return command
	}
	return command + " --from " + execx.Word(w.From())
}

// git is how the user calls git for the repository of the workspace.
func (o *origin) git(w *workspace.Workspace) string {
	if !o.given() {
		return "git"
	}
	return "git -C " + execx.Word(w.Repo.Top())
}
