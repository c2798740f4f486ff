package dist

import (
	"cmp"
	"path"
	"slices"
	"time"
)

// The packages are made with deb.go and Google's rpmpack, which needs two modules.
// nfpm, which used rpmpack until 2.45, needs some forty, among them a Git
// implementation and an SSH client.

// Package is a package of one platform.
type Package struct {
	Version string // vX.Y.Z
	Arch    string // in Go's names
	Time    time.Time
	Files   []File // with absolute names
}

// revision is the revision of the packaging: each version is packaged once.
const revision = "1"

const (
	summary    = "development sandboxes on microVMs"
	maintainer = "The banger maintainers <maintainers@banger.invalid>"
	licence    = "Apache-2.0"
)

// description is wrapped, and its lines are no longer than 78 characters.
var description = []string{
	"One command, one sandbox: a virtual machine with its own kernel, on your",
	"Linux machine. Sandboxes and open sessions continue while banger itself is",
	"restarted or updated.",
}

// sorted returns the files by name, each after its directories.
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
