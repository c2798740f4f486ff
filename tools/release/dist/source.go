package dist

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/execx"
)

// Source is the input of a release.
type Source struct {
	Dir     string // the checkout
	Version string
	Commit  string    // its first twelve digits, as everywhere in banger
	Time    time.Time // the commit's time, which all files of a release get
}

// commitDigits is the length used by the Makefile's `git rev-parse --short=12`.
const commitDigits = 12

// Checkout describes the commit that is checked out in dir. It refuses uncommitted
// changes: such a release could not be built again.
func Checkout(ctx context.Context, dir, version string) (Source, error) {
	changes, err := git(ctx, dir, "status", "--porcelain")
	if err != nil {
		return Source{}, err
	}
	if changes != "" {
		return Source{}, api.Errorf(api.KindConflict, "cannot build release %s: the checkout differs from its commit:\n%s", version, changes).
			WithHint("commit what belongs to it, and remove the rest")
	}
	out, err := git(ctx, dir, "log", "-1", "--format=%H %ct")
	if err != nil {
		return Source{}, err
	}
	commit, seconds, _ := strings.Cut(out, " ")
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || len(commit) < commitDigits {
		return Source{}, api.Errorf(api.KindInternal, "cannot build release %s: git describes the commit as %q", version, out)
	}
	return Source{Dir: dir, Version: version, Commit: commit[:commitDigits], Time: time.Unix(at, 0).UTC()}, nil
}

// Clone makes a checkout of the same commit in another directory.
func (s Source) Clone(ctx context.Context, to string) (Source, error) {
	if _, err := git(ctx, s.Dir, "clone", "--quiet", "--no-checkout", ".", to); err != nil {
		return s, err
	}
	if _, err := git(ctx, to, "checkout", "--quiet", "--detach", s.Commit); err != nil {
		return s, err
	}
	return Checkout(ctx, to, s.Version)
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	var out bytes.Buffer
	err := execx.Run(ctx, execx.Cmd{Name: "git", Args: args, Dir: dir, Stdout: &out, Package: "git"})
	return strings.TrimSpace(out.String()), err
}
