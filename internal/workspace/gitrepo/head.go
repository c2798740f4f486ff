package gitrepo

import (
	"context"
	"strings"

	"banger/api"
)

// head is the commit of HEAD and its tree; both are empty on a branch without commits.
type head struct{ commit, tree string }

// readHead looks at HEAD. If its commit is missing though its branch has one, the repository is
// damaged, and not new.
func (r *Repo) readHead(ctx context.Context) (head, error) {
	out, err := r.Git(ctx, nil, strings.NewReader("HEAD^{commit}\nHEAD^{tree}\n"), "cat-file", "--batch-check=%(objectname)")
	if err != nil {
		return head{}, err
	}
	ids := strings.Fields(string(out))
	if len(ids) == 2 {
		return head{ids[0], ids[1]}, nil
	}
	branch, err := r.line(ctx, "symbolic-ref", "-q", "HEAD")
	if err == nil {
		_, err = r.line(ctx, "rev-parse", "-q", "--verify", branch)
	}
	if err == nil || !exited(err) || branch == "" {
		return head{}, api.Errorf(api.KindInvalid, "cannot read the commit of HEAD in %s: the repository is damaged", r.top).
			WithHint("git -C %s fsck", r.top)
	}
	return head{}, nil
}

// committed is readHead for what needs a commit.
func (r *Repo) committed(ctx context.Context) (head, error) {
	h, err := r.readHead(ctx)
	if err == nil && h.commit == "" {
		return h, api.Errorf(api.KindInvalid, "%s has no commit yet", r.top).WithHint("git commit, or leave out --commit")
	}
	return h, err
}
