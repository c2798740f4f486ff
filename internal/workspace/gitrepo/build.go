package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
)

// defaultDepth is how many commits a guest's repository has.
const defaultDepth = 50

// GitOptions say what is in the repository that a guest gets.
type GitOptions struct {
	Depth int // how many commits, with HEAD; 0 means 50
	// History is "full" for all commits that HEAD has here, "none" for HEAD's alone, and ""
	// for Depth.
	History string
	Branch  string // a new branch at HEAD; "" means the one that is checked out here, if any
}

// BuildGit makes a fresh repository in dir/.git, for a guest: the history of HEAD, on the branch
// that is checked out, and an index with HEAD's tree. It has no hooks, no alternates, no
// credentials, no path of this host, and of the config only what decides whether a file has
// changed. The repositories of submodules are below it, each in the .git of its directory. In a
// folder it makes nothing. After an error, what is in dir is of no use.
//
// What is staged here is not staged there: it is only changed.
func (r *Repo) BuildGit(ctx context.Context, dir string, o GitOptions) error {
	if err := r.CheckGit(ctx, o); err != nil || r.folder {
		return err
	}
	depth, err := o.Commits()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
		return api.Errorf(api.KindExists, "cannot make a repository in %s: it has a .git already", dir)
	}
	if err := r.build(ctx, dir, depth, o.Branch); err != nil {
		return api.Errorf(api.KindOf(err), "cannot make the guest's repository of %s: %w", r.top, err)
	}
	return nil
}

// CheckGit refuses options that BuildGit cannot use.
func (r *Repo) CheckGit(ctx context.Context, o GitOptions) error {
	if _, err := o.Commits(); err != nil {
		return err
	}
	return r.checkBranch(ctx, o.Branch)
}

// Commits is how many commits of history are meant, or 0 for all.
func (o GitOptions) Commits() (int, error) {
	switch {
	case o.Depth < 0:
		return 0, api.Errorf(api.KindInvalid, "%d is not a valid depth: it is a number of commits", o.Depth)
	case o.History == "full":
		return 0, nil
	case o.History == "none":
		return 1, nil
	case o.History != "":
		return 0, api.Errorf(api.KindInvalid, "%.40q is not a valid history: it is full or none", o.History)
	case o.Depth == 0:
		return defaultDepth, nil
	}
	return o.Depth, nil
}

func (r *Repo) checkBranch(ctx context.Context, branch string) error {
	if branch == "" {
		return nil
	}
	out, err := r.line(ctx, "check-ref-format", "--branch", branch)
	if err != nil || out != branch { // @{-1} is another branch
		return api.Errorf(api.KindInvalid, "%.80q is not a valid name of a branch", branch)
	}
	return nil
}

// build makes the repository, and those of its submodules.
func (r *Repo) build(ctx context.Context, dir string, depth int, branch string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fsx.DiskError("make a directory", err)
	}
	b := &builder{from: r, dir: dir, depth: depth, branch: branch}
	for _, step := range []func(context.Context) error{b.readSource, b.init, b.fetch, b.index, b.config, b.remotes, b.modules} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// builder makes the repository in dir of another one.
type builder struct {
	from   *Repo
	dir    string
	depth  int
	head   head
	branch string // what HEAD names: the caller's, or the source's; "" for a detached HEAD
	scan   *scan
}

// noConfig hides the config of the user and of this host.
var noConfig = []string{"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null"}

// git runs git on the new repository.
func (b *builder) git(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	return b.gitWith(ctx, nil, stdin, args...)
}

func (b *builder) gitWith(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error) {
	env = slices.Concat(env, noConfig, []string{"GIT_DIR=" + filepath.Join(b.dir, ".git"), "GIT_WORK_TREE=" + b.dir})
	return command{dir: b.dir, env: env, stdin: stdin, args: args}.run(ctx)
}

// readSource looks at HEAD, and at what is checked out.
func (b *builder) readSource(ctx context.Context) (err error) {
	if b.head, err = b.from.readHead(ctx); err != nil {
		return err
	}
	ref, err := b.from.line(ctx, "symbolic-ref", "-q", "HEAD")
	if err != nil && !exited(err) { // exit status 1: it is detached
		return err
	}
	if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok && b.branch == "" {
		b.branch = branch
	}
	b.scan = newScan(b.from)
	return b.scan.tracked(ctx)
}

func (b *builder) init(ctx context.Context) error {
	initial := b.branch
	if initial == "" {
		initial = "main"
	}
	// With a work tree in the environment, git would write its path into the config.
	_, err := command{
		dir: b.dir, env: noConfig,
		args: []string{"init", "--quiet", "--template=", "--object-format=" + b.from.format, "--initial-branch=" + initial},
	}.run(ctx)
	return err
}

// serve is the other end of a fetch. The source's config does not say what it serves: a
// repository that hides references, or permits its branches alone, is still the user's own. Git
// clears -c for that end, so it is a command line of its own. A program that the user's config
// names for it (uploadpack.packObjectsHook) does not run: that config does not count here.
const serve = "git -c core.hooksPath=/dev/null -c uploadpack.allowAnySHA1InWant=true -c safe.directory=* upload-pack"

// fetch gets HEAD's history. A partial clone may lack what older commits have; then it is HEAD's
// commit alone, for which git gets what is still missing from where the clone is from.
func (b *builder) fetch(ctx context.Context) error {
	if b.head.commit == "" {
		return nil
	}
	err := b.fetchDepth(ctx, b.depth)
	if exited(err) && b.partial(ctx) {
		err = b.fetchDepth(ctx, 1, "GIT_NO_LAZY_FETCH=0")
	}
	if err != nil {
		return err
	}
	ref := "HEAD"
	if b.branch != "" {
		ref = "refs/heads/" + b.branch
	}
	_, err = b.git(ctx, nil, "update-ref", "--no-deref", ref, b.head.commit)
	return err
}

// partial reports whether the source is a partial clone.
func (b *builder) partial(ctx context.Context) bool {
	_, err := b.from.Git(ctx, nil, nil, "config", "--get-regexp", `^remote\..*\.promisor$`)
	return err == nil
}

// fetchDepth fetches so many commits, or all. The source is the directory that all linked work
// trees share.
func (b *builder) fetchDepth(ctx context.Context, depth int, env ...string) error {
	source, err := b.from.line(ctx, "rev-parse", "--path-format=absolute", "--git-common-dir")
	if err != nil {
		return err
	}
	args := []string{
		"-c", "protocol.version=2", "-c", "fetch.unpackLimit=1",
		"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--update-shallow", "--upload-pack=" + serve,
	}
	if depth > 0 {
		args = append(args, "--depth="+strconv.Itoa(depth))
	}
	_, err = b.gitWith(ctx, env, nil, append(args, fileURL(source), b.head.commit)...)
	return err
}

// fileURL is the URL of a path. Git decodes it.
func fileURL(path string) string {
	return "file://" + strings.NewReplacer("%", "%25", "\n", "%0A").Replace(path)
}

// index makes the index HEAD's tree. Of what is outside of a sparse checkout, and so does not
// ship, git must not think that it was removed.
func (b *builder) index(ctx context.Context) error {
	if b.head.commit == "" {
		return nil
	}
	if _, err := b.git(ctx, nil, "read-tree", b.head.commit); err != nil {
		return err
	}
	if len(b.scan.outside) == 0 {
		return nil
	}
	out, err := b.git(ctx, nil, "ls-files", "-z")
	if err != nil {
		return err
	}
	var names bytes.Buffer
	for _, name := range zeros(out) {
		if b.scan.outside[name] {
			names.WriteString(name + "\x00")
		}
	}
	_, err = b.git(ctx, &names, "update-index", "--skip-worktree", "-z", "--stdin")
	return err
}

// settings are what decides whether git takes a file for changed, with the values that they can
// have.
var settings = map[string]string{
	"core.autocrlf": "true false input", "core.eol": "lf crlf native", "core.filemode": "true false", "core.symlinks": "true false",
	"core.sparsecheckout": "true", "core.sparsecheckoutcone": "true false",
}

// config copies such settings, and what a sparse checkout has.
func (b *builder) config(ctx context.Context) error {
	out, err := b.from.Git(ctx, nil, nil, "config", "-z", "--list")
	if err != nil {
		return err
	}
	values := map[string]string{}
	for _, entry := range zeros(out) { // "name\nvalue", the last of a name counts
		name, value, ok := strings.Cut(entry, "\n")
		if !ok {
			value = "true"
		}
		if known, ok := settings[name]; ok && strings.Contains(" "+known+" ", " "+strings.ToLower(value)+" ") {
			values[name] = strings.ToLower(value)
		}
	}
	for name, value := range values {
		if _, err := b.git(ctx, nil, "config", name, value); err != nil {
			return err
		}
	}
	if values["core.sparsecheckout"] == "" {
		return nil
	}
	return b.sparse(ctx)
}

// sparse copies the patterns of a sparse checkout.
func (b *builder) sparse(ctx context.Context) error {
	file, err := b.from.line(ctx, "rev-parse", "--path-format=absolute", "--git-path", "info/sparse-checkout")
	if err != nil {
		return err
	}
	patterns, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(b.dir, ".git", "info"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, ".git", "info", "sparse-checkout"), patterns, 0o644)
	}
	return fsx.DiskError("copy the patterns of a sparse checkout", err)
}

// modules makes the repositories of submodules.
func (b *builder) modules(ctx context.Context) error {
	for _, m := range b.scan.modules {
		if err := m.repo.build(ctx, filepath.Join(b.dir, m.path), b.depth, ""); err != nil {
			return fmt.Errorf("submodule %s: %w", path.Clean(m.path), err)
		}
	}
	return nil
}
