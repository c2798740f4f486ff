package branch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
)

// Merged is the result of a merge.
type Merged struct {
	Commit string // of the branch now
	Branch string // that was merged into
}

// Merge merges the guest's work into the branch that is checked out, as git merge does, without
// hooks. It refuses a work tree that is not clean. If there are conflicts, it takes the merge back
// and names the files.
//
// git checks out what it merged, so the filters that the user configured run if attributes in
// the guest's files name them.
func Merge(ctx context.Context, repo Repo, w Work) (Merged, error) {
	branch, err := ready(ctx, repo)
	if err != nil {
		return Merged{}, err
	}
	c, err := w.chain(ctx, repo)
	if err != nil {
		return Merged{}, err
	}
	if err := inTheWay(ctx, repo, c); err != nil {
		return Merged{}, err
	}
	_, err = repo.Git(ctx, nil, nil, "-c", "merge.verifySignatures=false", "-c", "submodule.recurse=false",
		"merge", "--ff", "--no-verify", "--no-edit", "--no-stat", "--no-autostash", "--no-rerere-autoupdate", "-q", "-m", "Merge work of VM "+w.VM, c.tip)
	if err != nil {
		return Merged{}, abort(ctx, repo, err)
	}
	head, err := readCommit(ctx, repo, "HEAD")
	return Merged{Commit: head.id, Branch: branch}, err
}

// ready returns the branch that is checked out, or why nothing can be merged into it.
func ready(ctx context.Context, repo Repo) (string, error) {
	out, err := repo.Git(ctx, nil, nil, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=none")
	if err != nil {
		return "", err
	}
	const refused = "cannot merge: "
	branch, dirty := "", false
	for line := range strings.SplitSeq(string(out), "\x00") {
		name, isHead := strings.CutPrefix(line, "# branch.head ")
		switch {
		case isHead:
			branch = name
		case line == "# branch.oid (initial)":
			return "", api.Errorf(api.KindConflict, refused+"the branch has no commit yet").WithHint("banger work branch NAME")
		case line != "" && !strings.HasPrefix(line, "# "):
			dirty = true
		}
	}
	doing, err := underWay(ctx, repo)
	switch {
	case err != nil:
		return "", err
	case doing != "":
		return "", api.Errorf(api.KindConflict, refused+"a %s is not finished", doing).WithHint("git status says how to finish it")
	case branch == "(detached)":
		return "", api.Errorf(api.KindConflict, refused+"no branch is checked out").WithHint("git switch BRANCH, or: banger work branch NAME")
	case dirty:
		return "", api.Errorf(api.KindConflict, refused+"there are changes that are not committed").
			WithHint("git stash -u, or git commit; or: banger work apply, which works with them")
	}
	return branch, nil
}

// underWay returns what git has begun and not finished, if anything.
func underWay(ctx context.Context, repo Repo) (string, error) {
	marks := []struct{ file, what string }{
		{"rebase-merge", "rebase"}, {"rebase-apply", "rebase"}, {"MERGE_HEAD", "merge"},
		{"CHERRY_PICK_HEAD", "cherry-pick"}, {"REVERT_HEAD", "revert"}, {"sequencer", "sequence of commits"},
	}
	for _, m := range marks {
		out, err := repo.Git(ctx, nil, nil, "rev-parse", "--git-path", m.file)
		if err != nil {
			return "", err
		}
		place := strings.TrimSuffix(string(out), "\n")
		if !filepath.IsAbs(place) {
			place = filepath.Join(repo.Top(), place)
		}
		if _, err := os.Lstat(place); err == nil {
			return m.what, nil
		}
	}
	return "", nil
}

// abort undoes a merge that failed and returns why it did.
func abort(ctx context.Context, repo Repo, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	doing, err := underWay(ctx, repo)
	if err != nil || doing != "merge" {
		return errors.Join(failed, err)
	}
	out, err := repo.Git(ctx, nil, nil, "diff", "--name-only", "--no-ext-diff", "--diff-filter=U", "-z")
	if _, abort := repo.Git(ctx, nil, nil, "merge", "--abort"); abort != nil {
		return api.Errorf(api.KindInternal, "the merge has conflicts, and cannot be taken back: %w", abort).WithHint("git merge --abort")
	}
	if err != nil || len(out) == 0 {
		return errors.Join(failed, err)
	}
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	return api.Errorf(api.KindConflict, "both sides changed the same lines, and nothing was merged: %s", list(names)).
		WithHint("banger work apply, which compares with what was sent; or: banger work branch NAME, then git merge NAME")
}

// maxListed is how many names an error lists.
const maxListed = 10

func list(names []string) string {
	var quoted []string
	for _, name := range names[:min(len(names), maxListed)] {
		quoted = append(quoted, fmt.Sprintf("%.100q", name))
	}
	if more := len(names) - maxListed; more > 0 {
		quoted = append(quoted, fmt.Sprintf("%d more", more))
	}
	return strings.Join(quoted, ", ")
}
