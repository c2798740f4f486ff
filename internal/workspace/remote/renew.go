package remote

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/workspace/gitrepo"
)

// series is that of snapshots of a clone's tree.
const series = "clone"

// Renew brings the newest of a remote into the clone in dir, whose repository is repo, and checks it
// out. With commits, a clone with less history gets that much; with all, all of it. Changes in the
// work tree, which are nobody's but the user's, are in a snapshot first, whose name is returned; with
// commits of the user's on the branch it refuses. No other Make or Renew of dir may run.
func Renew(ctx context.Context, r Remote, dir string, repo *gitrepo.Repo, o gitrepo.GitOptions) (saved string, err error) {
	s, err := Load(dir)
	if err != nil {
		return "", err
	}
	head, err := r.commit(ctx, repo.Top(), "HEAD")
	if err == nil && head != s.Commit && head != s.Moving {
		return "", api.Errorf(api.KindConflict, "cannot bring the newest of %s into %s: commits were made there", r, repo.Top()).
			WithHint("banger up --new %s   sends these; git -C %s branch NAME && git -C %s reset --hard %.12s   lets --from continue", execx.Word(repo.Top()), execx.Word(repo.Top()), execx.Word(repo.Top()), s.Commit)
	}
	if err != nil {
		return "", r.failed("read the clone of", err)
	}
	newest, err := r.fetch(ctx, repo.Top(), o)
	if err != nil {
		failed := api.AsError(r.failed("fetch the newest of", err))
		if failed.Kind == api.KindInvalid {
			failed = failed.WithHint("%s; banger up --commit %s   works with what was cloned before", failed.Hint, execx.Word(repo.Top()))
		}
		return "", failed
	}
	if newest == s.Commit && s.Moving == "" {
		return "", nil
	}
	return r.move(ctx, dir, repo, s, newest)
}

// move checks another commit out.
func (r Remote) move(ctx context.Context, dir string, repo *gitrepo.Repo, s State, to string) (saved string, err error) {
	if s.Moving != "" { // an earlier one was killed, and the lock of the index is what it left
		out, err := repo.Git(ctx, nil, nil, "rev-parse", "--path-format=absolute", "--git-path", "index.lock")
		if err == nil {
			err = os.Remove(strings.TrimSuffix(string(out), "\n"))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fsx.DiskError("remove the lock of a clone", err)
		}
	}
	changed, err := repo.Git(ctx, nil, nil, "status", "--porcelain")
	if err != nil {
		return "", err
	}
	if len(changed) > 0 {
		c, err := repo.Snapshot(ctx, series, "before the newest was checked out", gitrepo.Select{})
		if err != nil {
			return "", err
		}
		saved = c.Ref
	}
	s.Moving = to
	if err := s.save(dir); err != nil {
		return saved, err
	}
	if _, err := r.git(ctx, repo.Top(), "reset", "--hard", "--quiet", to); err != nil {
		return saved, r.failed("check out the newest of", err)
	}
	s.Commit, s.Moving = to, ""
	return saved, s.save(dir)
}

// fetch gets the newest commit into a clone, and returns it.
func (r Remote) fetch(ctx context.Context, tree string, o gitrepo.GitOptions) (string, error) {
	args := []string{"fetch", r.verbosity(), "--no-tags"}
	if _, err := os.Stat(filepath.Join(tree, ".git/shallow")); err == nil {
		switch {
		case o.History == "full":
			args = append(args, "--unshallow")
		case o.Depth > 0:
			args = append(args, "--depth="+strconv.Itoa(o.Depth))
		}
	} else if object.MatchString(r.Ref) { // it is here, and does not change
		return r.commit(ctx, tree, r.Ref)
	}
	if _, err := r.git(ctx, tree, append(args, "--", "origin", r.source(ctx, tree))...); err != nil {
		return "", err
	}
	return r.commit(ctx, tree, "FETCH_HEAD")
}

// source is the reference of the remote that a clone is of. A name can be a branch's and a tag's:
// git clone prefers the branch, and git fetch the tag.
func (r Remote) source(ctx context.Context, tree string) string {
	switch {
	case r.Ref == "":
		return "HEAD"
	case strings.HasPrefix(r.Ref, "refs/") || object.MatchString(r.Ref):
		return r.Ref
	}
	if _, err := r.git(ctx, tree, "symbolic-ref", "--quiet", "HEAD"); err == nil {
		return branches + r.Ref
	}
	return "refs/tags/" + r.Ref
}
