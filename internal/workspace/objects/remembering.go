package objects

import (
	"context"
	"strings"
)

// WorkTree is a repository with a work tree.
type WorkTree interface {
	Repo
	Top() string
}

// Remembering is a repository of which each tree is read once. It is for one piece of work: a commit
// that is removed later would still be found. Only one goroutine uses it at a time.
type Remembering struct {
	WorkTree
	trees map[string]map[string]Entry
}

// Remember returns the repository that remembers.
func Remember(repo WorkTree) *Remembering { return &Remembering{repo, map[string]map[string]Entry{}} }

// isID reports whether a name is that of an object, by SHA-1 or SHA-256, which stays the same.
func isID(name string) bool {
	return (len(name) == 40 || len(name) == 64) && strings.Trim(name, "0123456789abcdef") == ""
}

func (r *Remembering) tree(ctx context.Context, commit string) (map[string]Entry, error) {
	if known, found := r.trees[commit]; found {
		return known, nil
	}
	t, err := tree(ctx, r.WorkTree, commit)
	if err == nil && isID(commit) {
		r.trees[commit] = t
	}
	return t, err
}
