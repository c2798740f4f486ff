package remote

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"

	"banger/api"
	"banger/internal/workspace/gitrepo"
)

// remoteName is what a remote of a repository can be called; a path with a colon is none.
var remoteName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/+-]*$`)

// Find reads what the user calls a repository: the name of a remote of the repository that dir is
// in, or what Parse reads.
func Find(ctx context.Context, text, dir string) (Remote, error) {
	called, ref, named := strings.Cut(text, "#")
	if remoteName.MatchString(called) {
		url, top, err := urlOf(ctx, called, dir)
		if err != nil {
			return Remote{}, err
		}
		if url != "" {
			text, dir = url, top
			if named {
				text += "#" + ref
			}
		}
	}
	return Parse(text, dir)
}

// urlOf returns the URL of a remote, and what its path is relative to; "" if there is none.
func urlOf(ctx context.Context, called, dir string) (url, top string, err error) {
	repo, err := gitrepo.Open(ctx, dir, "")
	if err != nil {
		return "", "", nil // it is in none
	}
	out, err := repo.Git(ctx, nil, nil, "remote", "get-url", "--", called)
	if api.KindOf(err) == api.KindCanceled {
		return "", "", err
	}
	if err != nil {
		return "", "", nil // it has no such remote
	}
	return strings.TrimSuffix(string(out), "\n"), filepath.Clean(repo.Top()), nil
}
