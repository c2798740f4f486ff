package treesync

import (
	"os"
	"path/filepath"

	"banger/internal/host/fsx"
)

// index is a git index for a moment.
type index struct {
	dir string
	env []string
}

func (p *pass) index() (index, error) {
	dir, err := os.MkdirTemp(p.Dir, "index-")
	return index{dir, []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}}, fsx.DiskError("make a directory for git's index", err)
}

func (i index) remove() { _ = os.RemoveAll(i.dir) }
