package incoming

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/workspace/objects"
	"banger/internal/workspace/treename"
)

const (
	// maxNames bounds the memory that a listing takes by names alone, in bytes.
	maxNames = 256 << 20
	// maxTarget is PATH_MAX: Linux has no longer targets of symbolic links (symlink(2)).
	maxTarget = 4096
	// minEntry is the least size of a listing's entry, in bytes.
	minEntry = 64
)

// list reads and checks the guest's listing. What git could not have in a tree is left out
// with a warning; a listing that no file system gives is refused.
func (i *importer) list(ctx context.Context) error {
	count, bytes := 0, 0
	err := i.guest.Tree(ctx, func(e Entry) error {
		count++
		bytes += len(e.Path) + len(e.Link) + minEntry
		if count > i.Limits.Entries || bytes > maxNames {
			return api.Errorf(api.KindInvalid, "cannot import the guest's files: there are more than %d", count-1).
				WithHint("remove what is not needed, or raise the limit")
		}
		return i.take(e)
	})
	if err != nil {
		return err
	}
	slices.SortFunc(i.entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return i.consistent()
}

// take adds an entry to the listing.
func (i *importer) take(e Entry) error {
	if git, inside := withinGit(e.Path); git != "" {
		if dir := path.Dir(git); !inside && dir != "." {
			i.inner = append(i.inner, dir)
		}
		return nil
	}
	err := treename.Check(e.Path, e.Type == TypeLink)
	switch {
	case errors.Is(err, treename.ErrMalformed):
		return malformed(e.Path, err.Error())
	case err != nil:
		i.result.Unknown[e.Path] = true
		i.warn(e.Path, "left out: "+err.Error())
		return nil
	case e.Size < 0:
		return malformed(e.Path, "its size is negative")
	case e.Type == TypeLink && (e.Link == "" || len(e.Link) > maxTarget || strings.ContainsRune(e.Link, 0)):
		return malformed(e.Path, "its target is not one of a symbolic link")
	case e.Unread != "":
		i.warn(e.Path, fmt.Sprintf("imported as it was sent, because it could not be read: %.100q", e.Unread))
		i.unknown[e.Path], i.result.Unknown[e.Path] = true, true
		return nil
	case e.Skipped:
		i.unknown[e.Path], i.result.Unknown[e.Path] = true, true
	case e.Type != TypeFile && e.Type != TypeDir && e.Type != TypeLink:
		i.result.Unknown[e.Path] = true
		i.warn(e.Path, "left out: it is neither a file nor a directory nor a symbolic link")
		return nil
	}
	i.entries = append(i.entries, e)
	return nil
}

// inModule reports whether a directory is a submodule, or lies in one.
func (i *importer) inModule(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if i.base[dir].Mode == objects.ModeModule {
			return true
		}
	}
	return false
}

func malformed(name, why string) error {
	return api.Errorf(api.KindDenied, "the guest's listing is refused: %.100q: %s", name, why)
}

// withinGit returns the path of the .git that name is or lies in, if any, and whether it lies
// inside.
func withinGit(name string) (git string, inside bool) {
	for at := 0; ; {
		component, _, more := strings.Cut(name[at:], "/")
		end := at + len(component)
		if component == ".git" {
			return name[:end], more
		}
		if !more {
			return "", false
		}
		at = end + 1
	}
}

// consistent refuses a sorted listing with one name twice, or with something below a file.
func (i *importer) consistent() error {
	dirs := map[string]bool{} // what has something below it
	for n, e := range i.entries {
		if n > 0 && i.entries[n-1].Path == e.Path {
			return malformed(e.Path, "it is listed twice")
		}
		for dir := path.Dir(e.Path); dir != "." && !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, e := range i.entries {
		if e.Type != TypeDir && dirs[e.Path] {
			return malformed(e.Path, "it is both a file and a directory")
		}
	}
	return nil
}
