package review

import (
	"context"
	"errors"
	"os/exec"
	"strings"
)

// Fork returns the last commit that two have in common, as in git diff A...B. If they have none, it
// is the empty tree.
func Fork(ctx context.Context, repo Repo, a, b string) (string, error) {
	out, err := repo.Git(ctx, nil, nil, "merge-base", strings.TrimSpace(a), strings.TrimSpace(b))
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // none: git-merge-base(1)
		out, err = repo.Git(ctx, nil, strings.NewReader(""), "hash-object", "-t", "tree", "--stdin")
	}
	return strings.TrimSpace(string(out)), err
}
