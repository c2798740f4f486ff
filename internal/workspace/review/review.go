// Package review shows what a guest changed before anything of it reaches the work tree. All is
// read from commits, by git's plumbing, without the programs that a configuration may name for
// differences.
package review

import (
	"context"
	"io"
	"slices"
	"strings"

	"banger/internal/workspace/marks"
	"banger/internal/workspace/objects"
	"banger/internal/workspace/treename"
)

// Repo runs git commands on the host's repository (incoming.Repo).
type Repo interface {
	Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error)
}

// Changes returns the changes between two commits, sorted by path.
func Changes(ctx context.Context, repo Repo, from, to string) ([]objects.Change, error) {
	return objects.Changes(ctx, repo, from, to)
}

// Status is the letter that git has for a change: A, D, M, or T for another type.
func Status(c objects.Change) string {
	switch {
	case c.Old == objects.Entry{}:
		return "A"
	case c.New == objects.Entry{}:
		return "D"
	case c.Old.IsFile() != c.New.IsFile(), !c.Old.IsFile() && c.Old.Mode != c.New.Mode:
		return "T"
	}
	return "M"
}

// diff are git's options for everything that is shown. Renames are found.
func diff(mode []string, from, to string, paths []string) []string {
	args := append([]string{"--literal-pathspecs", "diff-tree", "-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color"}, mode...)
	return append(append(args, from, to, "--"), paths...)
}

// Stat returns a line for each changed file, with the number of lines, and a summary. width is
// that of the terminal; 0 is 80.
func Stat(ctx context.Context, repo Repo, from, to string, width int, paths ...string) ([]byte, error) {
	if width == 0 {
		width = 80
	}
	return repo.Git(ctx, nil, nil, diff([]string{"--stat=" + itoa(width), "--summary"}, from, to, paths)...)
}

// Patch returns the changes as a patch for people to read; its control characters are still in
// it (Printable).
func Patch(ctx context.Context, repo Repo, from, to string, paths ...string) ([]byte, error) {
	return repo.Git(ctx, nil, nil, diff([]string{"-p"}, from, to, paths)...)
}

// BinaryPatch returns the changes as a patch for git apply, with the contents of all files.
func BinaryPatch(ctx context.Context, repo Repo, from, to string, paths ...string) ([]byte, error) {
	return repo.Git(ctx, nil, nil, diff([]string{"-p", "--binary", "--full-index"}, from, to, paths)...)
}

// Mark is a change that deserves a look.
type Mark struct{ Path, Reason string }

// maxLook is the size up to which contents are looked at, in bytes.
const maxLook = 4 << 20

// Marks returns the changes that deserve a look: see package marks. It adds names that differ
// from others only in case.
func Marks(ctx context.Context, repo Repo, from, to string) ([]Mark, error) {
	changes, err := Changes(ctx, repo, from, to)
	if err != nil {
		return nil, err
	}
	all, err := ofContents(ctx, repo, changes)
	if err != nil {
		return nil, err
	}
	collisions, err := collisions(ctx, repo, changes, to)
	all = append(all, collisions...)
	slices.SortStableFunc(all, func(a, b Mark) int { return strings.Compare(a.Path, b.Path) })
	return all, err
}

// ofContents returns the marks of the files that were added or changed. Old content is read as
// well: what was there is no news. Not all of the contents are in memory at once.
func ofContents(ctx context.Context, repo Repo, changes []objects.Change) ([]Mark, error) {
	var ids []string
	var into []func(content []byte)
	var all []Mark
	for _, c := range changes {
		if c.New.Mode == "" || c.New.Mode == objects.ModeModule {
			continue
		}
		f := &marks.File{Path: c.Path, Mode: c.New.Mode, OldMode: c.Old.Mode}
		expected := 1
		done := func() {
			if expected--; expected > 0 {
				return
			}
			for _, reason := range marks.Of(*f) {
				all = append(all, Mark{f.Path, reason})
			}
			f.Content, f.Old = nil, nil
		}
		ids = append(ids, c.New.ID)
		into = append(into, func(content []byte) { f.Content = content; done() })
		if c.Old.IsFile() {
			expected++
			ids = append(ids, c.Old.ID)
			into = append(into, func(content []byte) { f.Old = content; done() })
		}
	}
	err := objects.Blobs(ctx, repo, ids, maxLook, func(n int, content []byte) error {
		into[n](content)
		return nil
	})
	return all, err
}

func collisions(ctx context.Context, repo Repo, changes []objects.Change, to string) ([]Mark, error) {
	added := map[string]bool{}
	for _, c := range changes {
		if c.Old.Mode == "" {
			added[c.Path] = true
		}
	}
	if len(added) == 0 {
		return nil, nil
	}
	tree, err := objects.Tree(ctx, repo, to)
	if err != nil {
		return nil, err
	}
	all := make([]string, 0, len(tree))
	for name := range tree {
		all = append(all, name)
	}
	slices.Sort(all)
	var found []Mark
	for _, c := range treename.Collisions(all, func(name string) bool { return added[name] }) {
		found = append(found, Mark{c.Path, "its name differs from that of " + c.Other + " only in case"})
	}
	return found, nil
}
