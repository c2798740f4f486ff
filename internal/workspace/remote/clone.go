package remote

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/workspace/gitrepo"
)

// settings are for the commands that take something from a remote, besides those of each command:
// all objects are checked, nothing but what was asked for is taken, and no URL, be it one that
// the user's settings make of another, names a program to run.
var settings = []string{
	"-c", "transfer.fsckObjects=true", "-c", "fetch.fsckObjects=true",
	"-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=no", "-c", "transfer.bundleURI=false",
	"-c", "protocol.ext.allow=never", "-c", "protocol.fd.allow=never",
}

// unfinished begins the name of a directory in which a clone is made.
const unfinished = ".clone-"

// Make makes a clone in dir, which does not exist: the work tree, in a directory of its name, and the
// state. commits is how many of the history it gets, 0 for all. Of an earlier Make that was killed
// nothing is left. No other Make or Renew of dir may run.
func Make(ctx context.Context, r Remote, dir string, commits int) error {
	above := filepath.Dir(dir)
	if err := os.MkdirAll(above, 0o700); err != nil {
		return fsx.DiskError("make the directory of a clone", err)
	}
	removeUnfinished(above)
	made, err := os.MkdirTemp(above, unfinished)
	if err != nil {
		return fsx.DiskError("make the directory of a clone", err)
	}
	defer os.RemoveAll(made)
	s := State{URL: r.URL, Ref: r.Ref, Tree: r.Directory()}
	if s.Commit, err = r.clone(ctx, filepath.Join(made, s.Tree), commits); err != nil {
		return r.failed("clone", err)
	}
	if err := s.save(made); err != nil {
		return err
	}
	if err := os.Rename(made, dir); err != nil {
		return fsx.DiskError("give a clone its name", err)
	}
	return fsx.DiskError("give a clone its name", fsx.SyncDir(above))
}

func removeUnfinished(dir string) {
	entries, _ := os.ReadDir(dir) // what cannot be removed is in nobody's way
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// clone makes a repository with its work tree, and returns the commit.
func (r Remote) clone(ctx context.Context, tree string, commits int) (string, error) {
	var err error
	if r.exact() {
		err = r.take(ctx, tree, commits)
	} else {
		args := []string{
			"clone", r.verbosity(), "--no-checkout", "--template=", "--origin=origin",
			"--single-branch", "--no-tags", "--no-recurse-submodules",
		}
		if commits > 0 {
			args = append(args, "--depth="+strconv.Itoa(commits))
		}
		if r.Ref != "" {
			args = append(args, "--branch="+strings.TrimPrefix(r.Ref, branches))
		}
		_, err = r.git(ctx, filepath.Dir(tree), append(args, "--", r.URL, tree)...)
	}
	if err != nil {
		return "", err
	}
	commit, err := r.commit(ctx, tree, "HEAD")
	if err != nil {
		return "", errNone
	}
	_, err = r.git(ctx, tree, "reset", "--hard", "--quiet")
	return commit, err
}

const branches = "refs/heads/"

// object is the id of a commit, whole.
var object = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// exact reports whether Ref is something else than the name of a branch or tag, which git clone takes.
func (r Remote) exact() bool {
	return object.MatchString(r.Ref) || strings.HasPrefix(r.Ref, "refs/") && !strings.HasPrefix(r.Ref, branches)
}

// take makes a repository with the commit of an exact Ref.
func (r Remote) take(ctx context.Context, tree string, commits int) error {
	format := "sha1"
	if object.MatchString(r.Ref) && len(r.Ref) > 40 {
		format = "sha256"
	}
	fetch := []string{"fetch", r.verbosity(), "--no-tags"}
	if commits > 0 {
		fetch = append(fetch, "--depth="+strconv.Itoa(commits))
	}
	if _, err := r.git(ctx, filepath.Dir(tree), "init", "--quiet", "--template=", "--object-format="+format, tree); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"remote", "add", "--no-tags", "--", "origin", r.URL},
		append(fetch, "--", "origin", r.Ref),
	} {
		if _, err := r.git(ctx, tree, args...); err != nil {
			return err
		}
	}
	commit, err := r.commit(ctx, tree, "FETCH_HEAD")
	if err == nil {
		_, err = r.git(ctx, tree, "update-ref", "--no-deref", "HEAD", commit)
	}
	return err
}

// verbosity is the option by which git says how far it is, or is quiet.
func (r Remote) verbosity() string {
	if r.Report != nil {
		return "--progress"
	}
	return "--quiet"
}

func (r Remote) git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	return gitrepo.Reach(ctx, dir, r.environ(), r.skip, slices.Concat(settings, args)...)
}

// commit returns the id of the commit that a name stands for.
func (r Remote) commit(ctx context.Context, tree, name string) (string, error) {
	out, err := r.git(ctx, tree, "rev-parse", "--quiet", "--verify", "--end-of-options", name+"^{commit}")
	return strings.TrimSpace(string(out)), err
}

// errNone is the error of a repository that has no commit where one is expected.
var errNone = errors.New("it has no commit on its default branch, or no such branch")

// abbreviated is what the id of a commit may be cut to.
var abbreviated = regexp.MustCompile(`^[0-9a-f]{4,63}$`)

// failed says what the user can do about what git has said.
func (r Remote) failed(verb string, err error) error {
	kind := api.KindOf(err)
	switch {
	case kind == api.KindCanceled:
		return err
	case errors.Is(err, errNone):
		return api.Errorf(api.KindInvalid, "cannot %s %s: %w", verb, r, err).
			WithHint("git ls-remote %s   lists what it has; --from URL#BRANCH takes another branch", execx.Word(r.URL))
	case kind != api.KindInternal: // a full disk, no git, another user's: it says what to do
		return api.Errorf(kind, "cannot %s %s: %w", verb, r, err)
	case abbreviated.MatchString(r.Ref) && !r.exact():
		return api.Errorf(api.KindInvalid, "cannot %s %s: %w", verb, r, err).WithHint("if %s is a commit: its whole id is needed", r.Ref)
	}
	return api.Errorf(api.KindInvalid, "cannot %s %s: %w", verb, r, err).
		WithHint("git ls-remote %s   shows whether git reaches it, and what it has", execx.Word(r.URL))
}
