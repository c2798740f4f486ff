package dist

import (
	"cmp"
	"path"
	"slices"
	"time"
)

// The packages are made with a writer of our own (deb.go) and Google's rpmpack,
// which takes two modules with it. nfpm, which did its work with rpmpack until
// 2.45, takes some forty, a Git implementation and an SSH client among them.

// Package is a package of one platform.
type Package struct {
	Version string // vX.Y.Z
	Arch    string // in Go's names
	Time    time.Time
	Files   []File // with absolute names
}

// revision is that of the packaging: the same version is packaged once.
const revision = "1"

const (
	summary    = "development sandboxes on microVMs"
	maintainer = "The banger maintainers <maintainers@banger.invalid>"
	licence    = "Apache-2.0"
)

// description is wrapped, and its lines are no longer than 78 characters.
var description = []string{
	"One command, one sandbox: a virtual machine with a kernel of its own, on your",
	"own Linux machine. Sandboxes and open sessions go on while banger itself is",
	"restarted or updated.",
}

// sorted returns the files by name, each behind its directories.
func (p Package) sorted() []File {
	seen := map[string]bool{"/": true}
	var all []File
	for _, f := range p.Files {
		for dir := path.Dir(f.Name); !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			all = append(all, File{Name: dir + "/", Mode: 0o755})
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
