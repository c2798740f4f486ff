package gitrepo

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"banger/api"
	"banger/internal/host/fsx"
)

// modeModule is the mode of a submodule in an index or a tree.
const modeModule = "160000"

// scan is what one repository contributes to a workspace, as its files lie on disk. Paths are
// relative to its top.
type scan struct {
	repo     *Repo
	prefix   string // the repository's path in the workspace, for patterns and notes
	opts     Select
	ignored  patterns
	env      []string        // for git: which index
	dirs     map[string]bool // directories: whether they are real ones, and not links
	files    []File          // files and links, of repositories nested in it, too
	dropped  []string        // paths of the index that git would not look at, or whose file is gone
	modules  []module
	absent   []string        // submodules without a repository: empty directories
	outside  map[string]bool // paths outside of a sparse checkout that have no file
	reported map[string]bool

	untrackedFiles int
	// changed has the paths of the index whose files differ from it, or is nil: then all files are looked at.
	changed map[string]bool
}

// module is a submodule with a repository.
type module struct {
	path string
	repo *Repo
}

func newScan(r *Repo) *scan {
	return &scan{repo: r, dirs: map[string]bool{"": true}, outside: map[string]bool{}, reported: map[string]bool{}}
}

// scanRepo lists what ships of a repository. prefix is its path in the workspace. Of a folder nothing is
// tracked, whatever an index has.
func scanRepo(ctx context.Context, r *Repo, prefix string, o Select) (*scan, error) {
	return scanWith(ctx, r, prefix, o, nil, false)
}

// scanChanges is scanRepo with another index than the user's, which env names, and leaves out the tracked
// files that do not differ from it.
func scanChanges(ctx context.Context, r *Repo, prefix string, o Select, env []string) (*scan, error) {
	return scanWith(ctx, r, prefix, o, env, !r.folder)
}

func scanWith(ctx context.Context, r *Repo, prefix string, o Select, env []string, changes bool) (*scan, error) {
	p, err := newPatterns(o.IncludeIgnored)
	if err != nil {
		return nil, err
	}
	s := newScan(r)
	s.prefix, s.opts, s.ignored = prefix, o, p
	if !r.folder {
		s.env = env
	}
	tracked, others, err := s.lists(ctx, changes)
	if err != nil {
		return nil, err
	}
	if err := s.entries(ctx, tracked); err != nil {
		return nil, err
	}
	if err := s.others(ctx, others); err != nil {
		return nil, err
	}
	return s, nil
}

// lists asks git, all at once, for the index, the untracked files, and if changes is set for the tracked
// files that differ. In a large repository each answer takes about as long as the others.
func (s *scan) lists(ctx context.Context, changes bool) (tracked, others []byte, err error) {
	var changed []byte
	var errs [3]error
	var asked sync.WaitGroup
	ask := func(n int, into *[]byte, args ...string) {
		asked.Go(func() { *into, errs[n] = s.repo.Git(ctx, s.env, nil, args...) })
	}
	ask(0, &tracked, listTracked...)
	ask(1, &others, "ls-files", "-z", "--others", "--exclude-standard")
	if changes {
		ask(2, &changed, "diff-files", "-z", "--name-only", "--no-ext-diff", "--no-renames", "--ignore-submodules=all")
		s.changed = map[string]bool{}
	}
	asked.Wait()
	for _, name := range zeros(changed) {
		s.changed[name] = true
	}
	return tracked, others, cmp.Or(errs[:]...)
}

// listTracked lists the entries of the index. Each line is "TAG MODE OBJECT STAGE\tPATH"
// (git-ls-files(1), -s and -v).
var listTracked = []string{"ls-files", "-z", "-s", "-v"}

// tracked looks at the entries of the index.
func (s *scan) tracked(ctx context.Context) error {
	out, err := s.repo.Git(ctx, s.env, nil, listTracked...)
	if err != nil {
		return err
	}
	return s.entries(ctx, out)
}

// entries looks at those that listTracked lists.
func (s *scan) entries(ctx context.Context, out []byte) error {
	last := ""
	for _, entry := range zeros(out) {
		head, name, ok := strings.Cut(entry, "\t")
		tag, rest, _ := strings.Cut(head, " ")
		mode, _, _ := strings.Cut(rest, " ")
		if !ok || len(tag) != 1 {
			return api.Errorf(api.KindInternal, "git ls-files printed %.60q", entry)
		}
		if name == last { // another stage of an unmerged path
			continue
		}
		last = name
		var err error
		switch {
		case mode == modeModule:
			err = s.module(ctx, name, tag)
		case s.changed != nil && tag == "H" && !s.changed[name]:
		default:
			err = s.entry(name, tag)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry looks at a tracked path. What the index says of it may not be true: the tag S stands for
// paths outside of a sparse checkout, small letters for paths that the user told git not to look
// at (git-update-index(1), --assume-unchanged). If those have a file, it is compared as any other.
func (s *scan) entry(name, tag string) error {
	there, err := s.file(name)
	sparse := strings.EqualFold(tag, "s")
	switch {
	case err != nil:
		return err
	case !there && sparse:
		s.outside[name] = true
	case !there, sparse, tag != strings.ToUpper(tag):
		s.dropped = append(s.dropped, name)
	}
	return nil
}

// module looks at a submodule in the index, whether .gitmodules mentions it or not.
func (s *scan) module(ctx context.Context, name, tag string) error {
	dir := filepath.Join(s.repo.top, name)
	info, err := os.Lstat(dir)
	if err != nil && strings.EqualFold(tag, "s") {
		s.outside[name] = true
		return nil
	}
	if err != nil || !s.real(path.Dir(name)) || !info.IsDir() {
		s.dropped = append(s.dropped, name)
		if err == nil && !info.IsDir() {
			_, err = s.file(name) // a file took its place
			return err
		}
		return nil
	}
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err != nil {
		s.absent = append(s.absent, name)
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			s.opts.note(path.Join(s.prefix, name), "is a submodule without a repository, in which git sees no files: they do not ship")
		}
		return nil
	}
	sub, err := s.inner(ctx, name)
	if err != nil {
		return err
	}
	s.modules = append(s.modules, module{name, sub})
	return nil
}

// inner opens the repository in a directory of this one.
func (s *scan) inner(ctx context.Context, name string) (*Repo, error) {
	dir := filepath.Join(s.repo.top, name)
	sub, err := openAt(ctx, dir)
	if err == nil && (sub == nil || sub.top != dir) {
		err = api.Errorf(api.KindInvalid, "%s is not a repository that git can use", filepath.Join(dir, ".git"))
	}
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot use the repository in %s: %w", name, err)
	}
	return sub, nil
}

// others lists the untracked files, and the ignored ones that are wanted.
func (s *scan) others(ctx context.Context, out []byte) error {
	for _, name := range zeros(out) {
		if err := s.untracked(ctx, name, false); err != nil {
			return err
		}
	}
	if len(s.ignored) == 0 {
		return nil
	}
	out, err := s.repo.Git(ctx, s.env, nil, "ls-files", "-z", "--others", "--ignored", "--exclude-standard")
	if err != nil {
		return err
	}
	for _, name := range zeros(out) {
		if strings.HasSuffix(name, "/") || s.ignored.match(path.Join(s.prefix, name)) {
			if err := s.untracked(ctx, name, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// untracked looks at an untracked path. Git shows a repository that is nested in this one as a
// directory, and nothing in it. Its files are the workspace's like all others. Of one that is
// ignored only what matches is wanted.
func (s *scan) untracked(ctx context.Context, name string, ignored bool) error {
	if s.ours(name) {
		return nil
	}
	dir, nested := strings.CutSuffix(name, "/")
	if !nested {
		s.untrackedFiles++
		_, err := s.file(name)
		return err
	}
	sub, err := s.inner(ctx, dir)
	if err != nil && ignored && ctx.Err() == nil {
		s.opts.note(path.Join(s.prefix, dir), "is a repository that git cannot use: it does not ship")
		return nil
	}
	if err != nil {
		return err
	}
	files, err := listTree(ctx, sub, path.Join(s.prefix, dir), s.opts)
	if err != nil {
		return err
	}
	count := 0
	for _, f := range files {
		if f.Mode.IsDir() || ignored && !s.ignored.match(path.Join(s.prefix, dir, f.Path)) {
			continue
		}
		count++
		f.Path = path.Join(dir, f.Path)
		s.files = append(s.files, f)
	}
	if count > 0 {
		s.opts.note(path.Join(s.prefix, dir), "is a repository of its own: its files ship without their .git")
	}
	return nil
}

// file adds a path if it is a file or a link, and reports whether it did.
func (s *scan) file(name string) (bool, error) {
	if !s.real(path.Dir(name)) {
		return false, nil
	}
	full := filepath.Join(s.repo.top, name)
	info, err := os.Lstat(full)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	f := File{Path: name}
	switch {
	case err != nil:
	case info.Mode().IsRegular():
		f.Mode, f.Size = info.Mode().Perm(), info.Size()
	case info.Mode()&fs.ModeSymlink != 0:
		f.Mode = fs.ModeSymlink | 0o777
		f.Link, err = os.Readlink(full)
	case info.IsDir():
		return false, nil
	default:
		s.special(name, info.Mode())
		return false, nil
	}
	if err != nil {
		return false, api.Errorf(api.KindDenied, "cannot look at %s: %w", full, fsx.Cause(err))
	}
	s.files = append(s.files, f)
	return true, nil
}

// special reports what does not ship, once.
func (s *scan) special(name string, mode fs.FileMode) {
	if !s.reported[name] {
		s.reported[name] = true
		s.opts.note(path.Join(s.prefix, name), "is "+kindOf(mode)+": it does not ship")
	}
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode.IsDir():
		return "a directory that you may not read"
	}
	return "a device"
}

// real reports whether a directory and those above it are directories, and no links: git takes
// what is behind a link for missing.
func (s *scan) real(dir string) bool {
	if dir == "." {
		return true
	}
	known, ok := s.dirs[dir]
	if !ok {
		known = s.real(path.Dir(dir))
		if known {
			info, err := os.Lstat(filepath.Join(s.repo.top, dir))
			known = err == nil && info.IsDir()
		}
		s.dirs[dir] = known
	}
	return known
}
