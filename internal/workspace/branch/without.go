package branch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"banger/internal/host/fsx"
)

// sentIgnored returns the files of a tree that git ignores here and that head, a commit, does not
// have, each with a NUL behind it. The user has sent such a file into the guest, maybe one with a
// password; it must not become part of a history that others get. An empty head means that there was not a commit yet.
func sentIgnored(ctx context.Context, repo Repo, head, tree string) ([]byte, error) {
	added, err := addedSince(ctx, repo, head, tree)
	if err != nil || len(added) == 0 {
		return nil, err
	}
	ignored, err := repo.Git(ctx, nil, bytes.NewReader(added), "check-ignore", "-z", "--no-index", "--stdin")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // none is ignored (git-check-ignore(1))
		return nil, nil
	}
	return ignored, err
}

// addedSince returns the paths that a tree has and head has not, each with a NUL behind it.
func addedSince(ctx context.Context, repo Repo, head, tree string) ([]byte, error) {
	if head == "" {
		return repo.Git(ctx, nil, nil, "ls-tree", "-r", "-z", "--name-only", "--full-tree", tree)
	}
	return repo.Git(ctx, nil, nil, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", head, tree)
}

// without returns a tree without some paths.
func without(ctx context.Context, repo Repo, tree string, paths []byte) (string, error) {
	if len(paths) == 0 {
		return tree, nil
	}
	dir, err := os.MkdirTemp("", "banger-index-")
	if err != nil {
		return "", fsx.DiskError("make a temporary directory", err)
	}
	defer os.RemoveAll(dir)
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	if _, err := repo.Git(ctx, env, nil, "read-tree", tree); err != nil {
		return "", err
	}
	var info bytes.Buffer
	for path := range bytes.SplitSeq(bytes.TrimSuffix(paths, []byte{0}), []byte{0}) {
		fmt.Fprintf(&info, "0 %s\t%s\x00", strings.Repeat("0", len(tree)), path)
	}
	if _, err := repo.Git(ctx, env, &info, "update-index", "-z", "--index-info"); err != nil {
		return "", err
	}
	out, err := repo.Git(ctx, env, nil, "write-tree", "--missing-ok")
	return strings.TrimSpace(string(out)), err
}
