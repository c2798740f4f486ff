package objects

import (
	"context"
	"strings"
	"sync"
)

// WorkTree is a repository with a work tree.
type WorkTree interface {
	Repo
	Top() string
}

// Remembering is a repository of which each tree is read once. It is for one piece of work: a commit
// that is removed later would still be found.
type Remembering struct {
	WorkTree
	mu    sync.Mutex
	trees map[string]func() (map[string]Entry, error)
}

// Remember returns the repository that remembers.
func Remember(repo WorkTree) *Remembering {
	return &Remembering{WorkTree: repo, trees: map[string]func() (map[string]Entry, error){}}
}

// Ahead begins to read the trees of commits, which Tree then waits for. wait waits until all are read.
func (r *Remembering) Ahead(ctx context.Context, commits ...string) (wait func()) {
	var reading sync.WaitGroup
	for _, commit := range commits {
		reading.Go(func() { _, _ = r.tree(ctx, commit) }) // who needs it gets the error
	}
	return reading.Wait
}

// isID reports whether a name is that of an object, by SHA-1 or SHA-256, which stays the same.
func isID(name string) bool {
	return (len(name) == 40 || len(name) == 64) && strings.Trim(name, "0123456789abcdef") == ""
}

func (r *Remembering) tree(ctx context.Context, commit string) (map[string]Entry, error) {
	if !isID(commit) {
		return tree(ctx, r.WorkTree, commit)
	}
	r.mu.Lock()
	read, known := r.trees[commit]
	if !known {
		read = sync.OnceValues(func() (map[string]Entry, error) { return tree(ctx, r.WorkTree, commit) })
		r.trees[commit] = read
	}
	r.mu.Unlock()
	return read()
}
