// Package branch takes a guest's work into the host's history: as a branch of its own, or merged
// into the one that is checked out.
//
// The commit of an import is upon the snapshot that was sent, which is upon the commit that was
// checked out then. Snapshots are nothing for a history, so a branch has commits of its own:
//
//	HEAD when it was sent ── what was not committed then, if anything ── the guest's files
//
// The second is the user's work, under the user's name. Files that git ignores are in neither,
// though they may have been sent. The same snapshots give the same commits,
// except for the user's name.
package branch

import (
	"context"
	"io"
	"strings"

	"banger/api"
)

// Repo is the host's repository (incoming.Repo).
type Repo interface {
	Top() string
	Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error)
}

// Work is what a guest made of what it was sent.
type Work struct {
	VM string // its name
	// Shipped is the snapshot that was sent, and Guest the commit of an import upon it.
	Shipped, Guest string
}

// Create makes a branch with the guest's work and returns its commit. Nothing is checked out. A
// branch that exists is refused.
func Create(ctx context.Context, repo Repo, w Work, name string) (string, error) {
	ref := "refs/heads/" + name
	if _, err := repo.Git(ctx, nil, nil, "check-ref-format", ref); err != nil || strings.HasPrefix(name, "-") || name == "HEAD" {
		return "", api.Errorf(api.KindInvalid, "%.60q is not a valid name of a branch", name)
	}
	out, err := repo.Git(ctx, nil, nil, "for-each-ref", "--format=%(refname)", ref)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if strings.TrimSuffix(line, "\n") == ref {
			return "", api.Errorf(api.KindExists, "a branch %q exists already", name).WithHint("choose another name")
		}
	}
	c, err := w.chain(ctx, repo)
	if err != nil {
		return "", err
	}
	// The old value of zeros makes git refuse one that was made meanwhile.
	zero := strings.Repeat("0", len(c.tip))
	if _, err := repo.Git(ctx, nil, nil, "update-ref", "-m", "banger: work of VM "+w.VM, ref, c.tip, zero); err != nil {
		return "", api.Errorf(api.KindOf(err), "cannot make the branch %q: %w", name, err)
	}
	return c.tip, nil
}

// chain are the commits of a branch.
type chain struct {
	head string // on which they are; empty if there was no commit
	tip  string
}

// chain makes the commits. Nothing refers to them yet.
func (w Work) chain(ctx context.Context, repo Repo) (chain, error) {
	shipped, err := readCommit(ctx, repo, w.Shipped)
	if err != nil {
		return chain{}, err
	}
	guest, err := readCommit(ctx, repo, w.Guest)
	if err != nil {
		return chain{}, err
	}
	if guest.tree == shipped.tree {
		return chain{}, api.Errorf(api.KindConflict, "VM %s has changed nothing", w.VM)
	}
	c := chain{head: shipped.parent, tip: shipped.parent}
	var head commit
	if c.head != "" {
		if head, err = readCommit(ctx, repo, c.head); err != nil {
			return chain{}, err
		}
	}
	ignored, err := sentIgnored(ctx, repo, c.head, shipped.tree)
	if err != nil {
		return chain{}, err
	}
	for _, of := range []*commit{&shipped, &guest} {
		if of.tree, err = without(ctx, repo, of.tree, ignored); err != nil {
			return chain{}, err
		}
	}
	if head.tree != shipped.tree {
		message := "Changes that were not committed when they were sent to VM " + w.VM
		if c.tip, err = commitTree(ctx, repo, nil, shipped, c.tip, message); err != nil {
			return chain{}, err
		}
	}
	author := []string{"GIT_AUTHOR_NAME=banger guest of " + w.VM, "GIT_AUTHOR_EMAIL=guest@banger.invalid"}
	c.tip, err = commitTree(ctx, repo, author, guest, c.tip, "Work of VM "+w.VM)
	return c, err
}

// commit is what matters of a commit.
type commit struct{ id, tree, parent, date string }

func readCommit(ctx context.Context, repo Repo, name string) (commit, error) {
	out, err := repo.Git(ctx, nil, nil, "log", "-1", "--no-show-signature", "--format=%H %T %ct %P", name, "--")
	if err != nil {
		return commit{}, err
	}
	fields := strings.Fields(string(out))
	if len(fields) < 3 {
		return commit{}, api.Errorf(api.KindInternal, "git log answered %.100q", out)
	}
	c := commit{id: fields[0], tree: fields[1], date: fields[2] + " +0000"}
	if len(fields) > 3 {
		c.parent = fields[3]
	}
	return c, nil
}

// anonymous is who commits if the user's name is not configured.
var anonymous = []string{
	"GIT_AUTHOR_NAME=banger", "GIT_AUTHOR_EMAIL=host@banger.invalid", "GIT_COMMITTER_NAME=banger", "GIT_COMMITTER_EMAIL=host@banger.invalid",
}

// commitTree makes a commit with the tree and the time of another.
func commitTree(ctx context.Context, repo Repo, env []string, of commit, parent, message string) (string, error) {
	args := []string{"-c", "i18n.commitEncoding=UTF-8", "commit-tree", of.tree, "-m", message}
	if parent != "" {
		args = append(args, "-p", parent)
	}
	dates := []string{"GIT_AUTHOR_DATE=" + of.date, "GIT_COMMITTER_DATE=" + of.date}
	if _, err := repo.Git(ctx, nil, nil, "var", "GIT_COMMITTER_IDENT"); err != nil {
		dates = append(dates, anonymous...)
	}
	out, err := repo.Git(ctx, append(dates, env...), nil, args...)
	return strings.TrimSpace(string(out)), err
}
