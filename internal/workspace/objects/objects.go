// Package objects reads trees and contents from a git repository, with one process for many.
package objects

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"

	"banger/api"
)

// Repo runs git commands on a repository (incoming.Repo).
type Repo interface {
	Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error)
}

// Modes of entries of trees (fsck_tree in git's fsck.c).
const (
	ModeFile   = "100644"
	ModeExec   = "100755"
	ModeLink   = "120000"
	ModeModule = "160000"
)

// Entry is a file, a link or a submodule of a tree. The zero value is none.
type Entry struct{ Mode, ID string }

// IsFile reports whether e is a file, as opposed to a link, a submodule or nothing.
func (e Entry) IsFile() bool { return e.Mode == ModeFile || e.Mode == ModeExec }

// Tree returns what a commit has, by path. The caller does not change it.
func Tree(ctx context.Context, repo Repo, commit string) (map[string]Entry, error) {
	if r, ok := repo.(*Remembering); ok {
		return r.tree(ctx, commit)
	}
	return tree(ctx, repo, commit)
}

func tree(ctx context.Context, repo Repo, commit string) (map[string]Entry, error) {
	out, err := repo.Git(ctx, nil, nil, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	t := make(map[string]Entry, bytes.Count(out, []byte{0}))
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if line == "" {
			continue
		}
		meta, path, found := strings.Cut(line, "\t")
		fields := strings.Fields(meta) // mode, type, id
		if !found || len(fields) != 3 {
			return nil, api.Errorf(api.KindInternal, "git ls-tree answered %.100q", line)
		}
		t[path] = Entry{fields[0], fields[2]}
	}
	return t, nil
}

// Change is a path that differs between two commits.
type Change struct {
	Path     string
	Old, New Entry
}

// Changes returns what differs between two commits, sorted by path. A file that was renamed is
// two changes.
func Changes(ctx context.Context, repo Repo, from, to string) ([]Change, error) {
	out, err := repo.Git(ctx, nil, nil, "diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none", from, to, "--")
	if err != nil {
		return nil, err
	}
	var all []Change
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for ; len(fields) > 1; fields = fields[2:] {
		meta := strings.Fields(strings.TrimPrefix(fields[0], ":")) // two modes, two ids, status (git-diff-tree(1))
		if len(meta) != 5 {
			return nil, api.Errorf(api.KindInternal, "git diff-tree answered %.100q", fields[0])
		}
		all = append(all, Change{Path: fields[1], Old: entry(meta[0], meta[2]), New: entry(meta[1], meta[3])})
	}
	return all, nil
}

// entry is an Entry, unless git says by zeros that there is none.
func entry(mode, id string) Entry {
	if strings.Trim(mode, "0") == "" {
		return Entry{}
	}
	return Entry{mode, id}
}

// atOnce bounds the memory for contents, in bytes.
const atOnce = 32 << 20

// Blobs calls each once with the content of each object, in any order; n is the index of its
// name in ids. The content of one that is larger than limit bytes is nil.
func Blobs(ctx context.Context, repo Repo, ids []string, limit int64, each func(n int, content []byte) error) error {
	if len(ids) == 0 {
		return nil
	}
	sizes, err := sizes(ctx, repo, ids)
	if err != nil {
		return err
	}
	var batch []int
	var sum int64
	for n, size := range sizes {
		if size > limit {
			if err := each(n, nil); err != nil {
				return err
			}
			continue
		}
		if len(batch) > 0 && sum+size > atOnce {
			if err := read(ctx, repo, ids, batch, each); err != nil {
				return err
			}
			batch, sum = nil, 0
		}
		batch, sum = append(batch, n), sum+size
	}
	return read(ctx, repo, ids, batch, each)
}

func sizes(ctx context.Context, repo Repo, ids []string) ([]int64, error) {
	out, err := repo.Git(ctx, nil, lines(ids), "cat-file", "--batch-check=%(objectsize)")
	if err != nil {
		return nil, err
	}
	var all []int64
	for line := range strings.Lines(string(out)) {
		size, err := strconv.ParseInt(strings.TrimSuffix(line, "\n"), 10, 64)
		if err != nil {
			return nil, answer(line)
		}
		all = append(all, size)
	}
	if len(all) != len(ids) {
		return nil, answer(string(out))
	}
	return all, nil
}

func lines(ids []string) io.Reader { return strings.NewReader(strings.Join(ids, "\n") + "\n") }

func answer(text string) error {
	return api.Errorf(api.KindInternal, "git cat-file answered %.100q", text)
}

// read reads the objects of a batch.
func read(ctx context.Context, repo Repo, ids []string, batch []int, each func(int, []byte) error) error {
	if len(batch) == 0 {
		return nil
	}
	names := make([]string, len(batch))
	for i, n := range batch {
		names[i] = ids[n]
	}
	out, err := repo.Git(ctx, nil, lines(names), "cat-file", "--batch=%(objectsize)")
	for _, n := range batch {
		if err != nil {
			return err
		}
		header, rest, _ := bytes.Cut(out, []byte{'\n'})
		size, bad := strconv.Atoi(string(header))
		if bad != nil || size < 0 || size+1 > len(rest) {
			return answer(string(header))
		}
		out = rest[size+1:]
		err = each(n, rest[:size:size])
	}
	return err
}
