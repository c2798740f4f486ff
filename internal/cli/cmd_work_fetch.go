package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/client"
	"banger/internal/guest/filecopy"
	"banger/internal/host/fsx"
	"banger/internal/workspace/gitremote"
	"banger/internal/workspace/history"
	"banger/internal/workspace/review"

	"github.com/spf13/cobra"
)

func newWorkFetch(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "fetch [PATH]",
		Short: "Fetch the commits that were made in the VM",
		Long: `Fetch the branches of the guest's own repository, with the commits that were made in
the workspace's VM, as git fetch does: BRANCH in VM dev becomes dev/BRANCH here, for
"git log dev/BRANCH" and "git merge dev/BRANCH". The VM needs git, and must run.

Git checks each object. No tags and submodules come, no hook runs, and nothing is
written to git's configuration. Changes that are not committed in the VM do not come:
"banger work status" shows them. A branch that the VM has no more is removed here. A
commit that no branch leads to any more gets a name below refs/banger first.

"git fetch banger::dev" and "git push banger::dev" work as with any remote.`,
		Example: "  banger work fetch\n  git diff HEAD...dev/main\n  git merge dev/main",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, c, unlock, err := a.findWork(cmd.Context(), pathOf(args))
			if err != nil {
				return err
			}
			defer unlock()
			return a.fetch(cmd.Context(), c, w, a.std.out)
		},
	}
}

// fetch fetches the commits, and prints which.
func (a *app) fetch(ctx context.Context, c *client.Client, w work, out io.Writer) error {
	if err := w.refuseFolder("fetch commits"); err != nil {
		return err
	}
	if w.vm.State != api.StateRunning {
		return api.Errorf(api.KindConflict, "cannot fetch from VM %s: it is %s", w.vm.Name, w.vm.State).WithHint("%s   starts it", a.from.typed(w.Workspace, "banger up -d"))
	}
	if err := a.needGit(ctx, c.Guest(w.vm.ID)); err != nil {
		return err
	}
	env, remove, err := helperOnPath(a.std.env)
	if err != nil {
		return err
	}
	defer remove()
	fetched, err := history.Fetch(ctx, w.Repo, history.Request{
		VM: w.shipment.Series, URL: gitremote.Scheme + w.vm.ID, Protocol: "banger", Env: env,
	})
	if err != nil {
		return err
	}
	return a.printFetched(ctx, w, fetched, out)
}

// needGit refuses a guest without git: git itself would explain that badly.
func (a *app) needGit(ctx context.Context, g *client.Guest) error {
	session, err := g.Exec(ctx, api.Exec{Argv: []string{"git", "--version"}})
	if err != nil {
		return err
	}
	defer session.Close()
	_ = session.Stdin.Close() // it reads nothing
	for _, from := range []io.Reader{session.Stdout, session.Stderr} {
		go func() { _, _ = io.Copy(io.Discard, from) }() // ends with the session
	}
	exit, err := session.Wait(ctx)
	if exit.Code == notFound {
		return noGit(g.Name())
	}
	return err
}

// helperOnPath makes git find this program as its helper, wherever it is installed.
func helperOnPath(env func(string) string) (path []string, remove func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, api.Errorf(api.KindInternal, "cannot find this program: %w", err)
	}
	dir, err := os.MkdirTemp("", "banger-git-*")
	if err != nil {
		return nil, nil, fsx.DiskError("make a directory for git's helper", err)
	}
	remove = func() { os.RemoveAll(dir) }
	if err := os.Symlink(self, filepath.Join(dir, GitRemoteProgram)); err != nil {
		remove()
		return nil, nil, fsx.DiskError("make a link for git's helper", err)
	}
	return []string{"PATH=" + dir + string(filepath.ListSeparator) + env("PATH")}, remove, nil
}

// maxMarked is how many branches are looked at for what deserves a look.
const maxMarked = 10

func (a *app) printFetched(ctx context.Context, w work, r history.Result, out io.Writer) error {
	vm := w.shipment.Series
	t := newTable("BRANCH", "COMMIT", "NEW COMMITS", "FORMER")
	var marked []history.Branch
	for _, b := range r.Branches {
		commit, former := "removed", b.Former
		if b.New != "" {
			commit = b.New[:12]
			if !slices.ContainsFunc(marked, func(m history.Branch) bool { return m.New == b.New }) {
				marked = append(marked, b)
			}
		}
		if former == "" {
			former = "-"
		}
		t.add(printable(vm+"/"+b.Name), commit, fmt.Sprint(b.Commits), former)
	}
	var err error
	if len(r.Branches) > 0 {
		err = t.write(out)
	} else if len(r.Refused) == 0 {
		a.std.note("VM %s has nothing that is new here", w.vm.Name)
	}
	for _, b := range marked[:min(len(marked), maxMarked)] {
		err = errors.Join(err, a.printMarksOf(ctx, w, vm+"/"+b.Name, b.New))
	}
	if len(marked) > 0 {
		shown := filecopy.Quote(vm + "/" + marked[0].Name)
		git := a.from.git(w.Workspace)
		if !a.from.given() {
			a.std.note("`git diff HEAD...%s` shows what a branch changes, and `git merge %s` takes it", shown, shown)
		} else {
			a.std.note("`%s diff HEAD...%s` shows what a branch changes, and `%s push origin %s:NAME` pushes it", git, shown, git, shown)
		}
	}
	for _, refused := range r.Refused {
		a.std.note("not taken: branch %s: %s", filecopy.Quote(refused.Name), refused.Why)
	}
	if n := len(r.Refused); n > 0 && err == nil {
		err = api.Errorf(api.KindConflict, "not all was taken: %d of %d branches were refused", n, n+r.Total)
	}
	return err
}

// printMarksOf names the changes of a branch that deserve a look, since the last commit that it
// has in common with HEAD.
func (a *app) printMarksOf(ctx context.Context, w work, branch, commit string) error {
	out, err := w.Repo.Git(ctx, nil, nil, "rev-parse", "-q", "--verify", "HEAD")
	if err != nil {
		return nil // HEAD is on a branch without commits
	}
	base, err := review.Fork(ctx, w.Repo, string(out), commit)
	if err != nil {
		return err
	}
	marks, err := review.Marks(ctx, w.Repo, base, commit)
	for _, m := range marks {
		a.std.note("look at %s of %s: %s", filecopy.Quote(m.Path), filecopy.Quote(branch), m.Reason)
	}
	return err
}
