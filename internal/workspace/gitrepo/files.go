package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
)

// File is a file, a symbolic link, or the empty directory of a submodule without a repository.
type File struct {
	Path string      // from the top, with slashes
	Mode fs.FileMode // of a file the permissions alone
	Size int64       // in bytes; of a file of a commit the size of its object
	Link string      // the target of a symbolic link
	at   *treeOf     // the commit that the content is of, or nil: the work tree
}

// treeOf is the tree of a commit at a path of a workspace.
type treeOf struct {
	repo   *Repo
	commit string
	prefix string
}

// Files lists what ships: tracked and untracked files that are not ignored, as they lie on disk,
// or with o.Commit what HEAD has. Submodules' files are included under their path. The list is
// sorted by path.
//
// A folder that is in no repository ships as a whole, without a list of usual caches that are
// left out: what is not there is missed later than what is too much, and a .gitignore in it
// counts as in a repository.
func (r *Repo) Files(ctx context.Context, o Select) ([]File, error) {
	var files []File
	var err error
	if o.Commit {
		var head head
		if head, err = r.committed(ctx); err == nil {
			files, err = listCommit(ctx, &treeOf{repo: r, commit: head.commit})
		}
	} else {
		files, err = listTree(ctx, r, "", o)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(files, func(a, b File) bool { return a.Path == b.Path }), nil
}

// listTree lists the work tree of a repository, with those of its submodules.
func listTree(ctx context.Context, r *Repo, prefix string, o Select) ([]File, error) {
	s, err := scanRepo(ctx, r, prefix, o)
	if err != nil {
		return nil, err
	}
	if err := s.specials(ctx); err != nil {
		return nil, err
	}
	files := s.files
	for _, name := range s.absent {
		files = append(files, File{Path: name, Mode: fs.ModeDir | 0o755})
	}
	for _, m := range s.modules {
		inner, err := listTree(ctx, m.repo, path.Join(prefix, m.path), o)
		if err != nil {
			return nil, err
		}
		files = append(files, under(m.path, inner)...)
	}
	return files, nil
}

// under puts files into a directory. A submodule without files is the directory alone.
func under(dir string, files []File) []File {
	if len(files) == 0 {
		return []File{{Path: dir, Mode: fs.ModeDir | 0o755}}
	}
	for i := range files {
		files[i].Path = path.Join(dir, files[i].Path)
	}
	return files
}

// specials reports the named pipes, sockets and devices beside the files that ship, and directories
// that cannot be read. Git lists nothing of them.
func (s *scan) specials(ctx context.Context) error {
	if s.opts.Note == nil {
		return nil
	}
	found := map[string]fs.FileMode{}
	for dir, real := range s.dirs {
		if !real {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(s.repo.top, dir))
		if err != nil {
			continue // git has said what it cannot read
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			_, listed := s.dirs[name]
			closed := e.IsDir() && !listed && unix.Access(filepath.Join(s.repo.top, name), unix.R_OK|unix.X_OK) != nil
			if closed || e.Type()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0 {
				found[name] = e.Type()
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	var names bytes.Buffer
	for name := range found {
		names.WriteString(name + "\x00")
	}
	out, err := s.repo.Git(ctx, nil, &names, "check-ignore", "-z", "--stdin")
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) { // 1: none is ignored
		return err
	}
	for _, name := range zeros(out) {
		delete(found, name)
	}
	for name, mode := range found {
		s.special(name, mode)
	}
	return nil
}

// listCommit lists the files of a commit, with those of its submodules that have a repository
// here.
func listCommit(ctx context.Context, t *treeOf) ([]File, error) {
	out, err := t.repo.Git(ctx, nil, nil, "ls-tree", "-r", "-z", "-l", "--full-tree", t.commit)
	if err != nil {
		return nil, err
	}
	var files []File
	var links []int // symbolic links in files
	var objects bytes.Buffer
	for _, entry := range zeros(out) { // "MODE TYPE OBJECT SIZE\tPATH"
		head, name, _ := strings.Cut(entry, "\t")
		fields := strings.Fields(head)
		if len(fields) != 4 {
			return nil, api.Errorf(api.KindInternal, "git ls-tree printed %.60q", entry)
		}
		f := File{Path: name, Mode: 0o644, at: t}
		f.Size, _ = strconv.ParseInt(fields[3], 10, 64)
		switch fields[0] {
		case modeModule:
			inner, err := t.module(ctx, name, fields[2])
			if err != nil {
				return nil, err
			}
			files = append(files, under(name, inner)...)
			continue
		case "120000":
			f.Mode, f.Size = fs.ModeSymlink|0o777, 0
			links = append(links, len(files))
			objects.WriteString(fields[2] + "\n")
		case "100755":
			f.Mode = 0o755
		}
		files = append(files, f)
	}
	return files, t.targets(ctx, files, links, &objects)
}

// module lists the files of a submodule's commit.
func (t *treeOf) module(ctx context.Context, name, commit string) ([]File, error) {
	dir := filepath.Join(t.repo.top, name)
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err != nil {
		return nil, nil
	}
	sub, err := openAt(ctx, dir)
	if err != nil || sub == nil || sub.top != dir {
		return nil, err
	}
	files, err := listCommit(ctx, &treeOf{repo: sub, commit: commit, prefix: path.Join(t.prefix, name)})
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot list commit %.12s of the submodule %s: %w", commit, name, err).
			WithHint("git submodule update --init %s", name)
	}
	return files, nil
}

// targets reads the targets of symbolic links from their objects.
func (t *treeOf) targets(ctx context.Context, files []File, links []int, objects *bytes.Buffer) error {
	if len(links) == 0 {
		return nil
	}
	out, err := t.repo.Git(ctx, nil, objects, "cat-file", "--batch=%(objectsize)")
	if err != nil {
		return err
	}
	for _, i := range links {
		size, rest, _ := bytes.Cut(out, []byte("\n"))
		n, err := strconv.Atoi(string(size))
		if err != nil || n >= len(rest) {
			return api.Errorf(api.KindInternal, "git cat-file printed %.60q for a link", out)
		}
		files[i].Link, out = string(rest[:n]), rest[n+1:]
	}
	return nil
}
