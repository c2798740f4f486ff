package gitrepo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"banger/api"
	"banger/internal/host/fsx"
)

// Repo is a repository of the user's with its work tree, or a folder that is in none.
type Repo struct {
	top    string
	gitDir string   // this work tree's: a linked one has its own
	format string   // of objects: sha1 or sha256
	env    []string // for git to find banger's own repository of a folder
	folder bool

	making sync.Mutex
	made   bool // banger's own repository is there
}

// Open finds the repository that path, a directory, is in. own is the directory for banger's own
// repository if it is in none; it is made when it is first needed. Without own, a path in no
// repository is refused.
func Open(ctx context.Context, path, own string) (*Repo, error) {
	dir, err := directory(path)
	if err != nil {
		return nil, err
	}
	r, err := openAt(ctx, dir)
	if r != nil || err != nil {
		return r, err
	}
	if own == "" {
		return nil, api.Errorf(api.KindInvalid, "%s is in no git repository", dir).WithHint("git init %s", dir)
	}
	if own, err = filepath.Abs(own); err != nil {
		return nil, err
	}
	return &Repo{top: dir, gitDir: own, format: "sha1", env: []string{"GIT_DIR=" + own, "GIT_WORK_TREE=" + dir}, folder: true}, nil
}

// directory returns the canonical path of a directory that exists.
func directory(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		kind := api.KindInvalid
		switch {
		case errors.Is(err, fs.ErrNotExist):
			kind = api.KindNotFound
		case errors.Is(err, fs.ErrPermission):
			kind = api.KindDenied
		}
		return "", api.Errorf(kind, "cannot use %s as a workspace: %w", path, fsx.Cause(err))
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", api.Errorf(api.KindInvalid, "cannot use %s as a workspace: %w", path, fsx.Cause(err))
	}
	if !info.IsDir() {
		return "", api.Errorf(api.KindInvalid, "cannot use %s as a workspace: it is not a directory", path).
			WithHint("name its directory: %s", filepath.Dir(abs))
	}
	return abs, nil
}

// openAt opens the repository that a directory is in, or returns nil if it is in none.
func openAt(ctx context.Context, dir string) (*Repo, error) {
	r := &Repo{top: dir, made: true}
	out, err := r.line(ctx, "rev-parse", "--is-bare-repository", "--is-inside-git-dir", "--is-inside-work-tree", "--show-object-format")
	if err != nil {
		if exited(err) && !below(dir) {
			return nil, nil
		}
		return nil, api.Errorf(api.KindOf(err), "cannot use the repository of %s: %w", dir, err)
	}
	if r.gitDir, err = r.line(ctx, "rev-parse", "--absolute-git-dir"); err != nil {
		return nil, err
	}
	facts := strings.Split(out, "\n")
	if err := refuse(dir, r.gitDir, facts); err != nil {
		return nil, err
	}
	r.format = facts[3]
	top, err := r.line(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	r.top, err = filepath.EvalSymlinks(top)
	return r, err
}

// refuse returns an error for a directory of a repository that is not in a work tree.
func refuse(dir, gitDir string, facts []string) error {
	bare, inside, inTree := facts[0] == "true", facts[1] == "true", facts[2] == "true"
	switch {
	case inside && (!bare || filepath.Base(gitDir) == ".git"):
		return api.Errorf(api.KindInvalid, "cannot use %s as a workspace: it is inside a repository's .git directory, %s", dir, gitDir).
			WithHint("name the directory with your files")
	case bare:
		return api.Errorf(api.KindInvalid, "cannot use %s as a workspace: %s is a bare repository, which has no files to ship", dir, gitDir).
			WithHint("git clone %s DIR   makes a work tree of it", gitDir)
	case !inTree:
		return api.Errorf(api.KindInvalid, "cannot use %s as a workspace: the files of its repository %s are elsewhere", dir, gitDir).
			WithHint("git -C %s config core.worktree   says where", dir)
	}
	return nil
}

// below reports whether dir or a directory above it has a .git that git takes for a repository.
// Git's exit status is the same whether there is none or it cannot use the one that is there. As
// git does, it does not look into another file system, nor up to GIT_CEILING_DIRECTORIES (git(1)).
func below(dir string) bool {
	ceilings := filepath.SplitList(os.Getenv("GIT_CEILING_DIRECTORIES"))
	for device := deviceOf(dir); ; dir = filepath.Dir(dir) {
		git := filepath.Join(dir, ".git")
		if info, err := os.Lstat(git); err == nil {
			if !info.IsDir() && info.Mode()&fs.ModeSymlink == 0 || isGitDir(git) {
				return true
			}
		}
		if isGitDir(dir) {
			return true
		}
		if above := filepath.Dir(dir); above == dir || deviceOf(above) != device || slices.Contains(ceilings, above) {
			return false
		}
	}
}

// isGitDir reports whether a directory has what git requires of a repository
// (gitrepository-layout(5)). One that cannot be read counts.
func isGitDir(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return false
		}
	}
	return true
}

func deviceOf(path string) uint64 {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return 0
	}
	return st.Dev
}

// Superproject returns the top level of the repository whose submodule this one is, or "".
func (r *Repo) Superproject(ctx context.Context) (string, error) {
	if r.folder {
		return "", nil
	}
	return r.line(ctx, "rev-parse", "--show-superproject-working-tree")
}

// Top is the canonical, absolute path of the work tree or folder.
func (r *Repo) Top() string { return r.top }

// Folder reports whether the workspace is in no repository of the user's.
func (r *Repo) Folder() bool { return r.folder }
