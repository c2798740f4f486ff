package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// identity is that of snapshots: a user without user.name has snapshots, too, and whoever reads a
// log sees who made the commit.
var identity = []string{
	"GIT_AUTHOR_NAME=banger", "GIT_AUTHOR_EMAIL=banger@localhost",
	"GIT_COMMITTER_NAME=banger", "GIT_COMMITTER_EMAIL=banger@localhost",
}

// Snapshot records the work tree as it lies, or with o.Commit HEAD's tree, as a commit of the
// series of a VM, below HEAD's commit. If nothing has changed since the newest of the series, that
// one is returned. Contents are what git would commit: filters and line ends of the repository
// apply. A filter that fails is an error if it is required (gitattributes(5)), as that of git-lfs
// is; without the others git, too, commits the files as they lie.
//
// A submodule's snapshot is a commit in its own repository, under the same reference. If it has no
// changes, that is its HEAD. The tree of the snapshot refers to these commits.
func (r *Repo) Snapshot(ctx context.Context, vm, message string, o Select) (Commit, error) {
	if err := checkVM(vm); err != nil {
		return Commit{}, err
	}
	message = strings.ToValidUTF8(strings.ReplaceAll(message, "\x00", ""), "?")
	s := &snapshot{vm: vm, message: strings.TrimRight(message, "\n"), time: time.Unix(time.Now().Unix(), 0), opts: o}
	top, err := s.take(ctx, r, "")
	if err != nil {
		return Commit{}, api.Errorf(api.KindOf(err), "cannot take a snapshot of %s: %w", r.top, err)
	}
	if top.N != 0 {
		return top, nil
	}
	if top.N, err = claim(ctx, vm, s.made); err != nil {
		return Commit{}, api.Errorf(api.KindOf(err), "cannot name the snapshot of %s: %w", r.top, err)
	}
	top.Ref = fmt.Sprint(refs(vm), top.N)
	return top, nil
}

// snapshot is one that is being taken.
type snapshot struct {
	vm, message string
	time        time.Time
	opts        Select
	made        []made // commits that get a name, a submodule's before those that refer to it
}

// made is a commit of a snapshot, which has no name yet.
type made struct {
	repo *Repo
	id   string
}

// take makes the commit of one repository, submodules first. Its N is 0 if the commit is new. A
// submodule's that was made before is used again wherever it is in the series, so that the tree
// that refers to it changes only if the submodule does.
func (s *snapshot) take(ctx context.Context, r *Repo, prefix string) (Commit, error) {
	h, err := r.readHead(ctx)
	if err != nil {
		return Commit{}, err
	}
	series, err := r.series(ctx, s.vm)
	if err != nil {
		return Commit{}, err
	}
	tree := h.tree
	if s.opts.Commit {
		if _, err := r.committed(ctx); err != nil {
			return Commit{}, err
		}
	} else if tree, err = s.tree(ctx, r, prefix, len(series) == 0); err != nil {
		return Commit{}, err
	}
	if prefix != "" && tree == h.tree {
		s.made = append(s.made, made{r, h.commit})
		return Commit{ID: h.commit, Tree: tree}, nil
	}
	if prefix == "" && !s.opts.Any {
		series = series[max(0, len(series)-1):]
	}
	for _, c := range slices.Backward(series) {
		if c.Tree == tree && (c.parents == h.commit || prefix == "" && s.opts.Any) {
			s.made = append(s.made, made{r, c.ID})
			return c.Commit, nil
		}
	}
	c := Commit{Tree: tree, Message: s.message, Time: s.time}
	c.ID, err = s.record(ctx, r, tree, h.commit)
	s.made = append(s.made, made{r, c.ID})
	return c, err
}

// record makes a commit.
func (s *snapshot) record(ctx context.Context, r *Repo, tree, parent string) (string, error) {
	args := []string{"commit-tree", tree}
	if parent != "" {
		args = append(args, "-p", parent)
	}
	date := fmt.Sprintf("@%d +0000", s.time.Unix()) // git-commit(1), internal format
	env := slices.Concat(identity, []string{"GIT_AUTHOR_DATE=" + date, "GIT_COMMITTER_DATE=" + date})
	out, err := r.Git(ctx, env, strings.NewReader(s.message+"\n"), args...)
	return strings.TrimSpace(string(out)), err
}

// attempts is how often the files of a snapshot are read if git fails: it does when a file
// changes or becomes shorter while it reads it.
const attempts = 3

// tree writes the tree of a repository as its files lie on disk. first says that it is the first
// of a series.
func (s *snapshot) tree(ctx context.Context, r *Repo, prefix string, first bool) (string, error) {
	before := len(s.made)
	for attempt := 1; ; attempt++ {
		s.made = s.made[:before]
		id, unread, err := s.attempt(ctx, r, prefix, first)
		if len(unread) == 0 || !exited(err) || api.KindOf(err) == api.KindNoSpace {
			return id, err
		}
		if names := unreadable(r.top, unread); len(names) > 0 {
			return "", api.Errorf(api.KindDenied, "%s cannot be read: permission denied", quote(names)).
				WithHint("change its mode, or list it in .gitignore")
		}
		if attempt == attempts {
			return "", err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// many is from how many untracked files on the first snapshot of a series puts objects into
// packs, instead of a file for each: 5,000 files take a third of the time. Later most of them are
// there, and git would compress them again only to find that out.
const many = 500

// attempt is one attempt at tree. If git cannot read files, it returns all that git was to read.
func (s *snapshot) attempt(ctx context.Context, r *Repo, prefix string, first bool) (id string, unread []File, err error) {
	dir, err := os.MkdirTemp("", "banger-index-")
	if err != nil {
		return "", nil, fsx.DiskError("make a temporary directory", err)
	}
	defer os.RemoveAll(dir)
	if err := r.ensure(ctx); err != nil {
		return "", nil, err
	}
	index := filepath.Join(dir, "index")
	if err := copyIndex(r.index(), index); err != nil {
		return "", nil, err
	}
	env := []string{"GIT_INDEX_FILE=" + index}
	list, err := scanChanges(ctx, r, prefix, s.opts, env)
	if err != nil {
		return "", nil, err
	}
	if err := s.prepare(ctx, list, env); err != nil {
		return "", nil, err
	}
	if err := list.add(ctx, env, first && list.untrackedFiles > many); err != nil {
		return "", list.files, err
	}
	// A partial clone lacks objects of files that have not changed.
	out, err := r.Git(ctx, env, nil, "write-tree", "--missing-ok")
	if err == nil && r.folder {
		r.keep(index)
	}
	return strings.TrimSpace(string(out)), nil, err
}

// unreadable returns the files that this user may not read.
func unreadable(top string, files []File) []string {
	var names []string
	for _, f := range files {
		if !f.Mode.IsRegular() {
			continue
		}
		in, err := os.OpenFile(filepath.Join(top, f.Path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			in.Close()
		} else if errors.Is(err, fs.ErrPermission) {
			names = append(names, f.Path)
		}
	}
	return names
}

// maxNames is how many names an error has.
const maxNames = 3

func quote(names []string) string {
	var b strings.Builder
	for i, name := range names[:min(len(names), maxNames)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.200q", name)
	}
	if more := len(names) - maxNames; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return api.Errorf(api.KindCanceled, "it was stopped: %w", context.Cause(ctx))
	}
}
