package incoming

import (
	"bytes"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/workspace/objects"
)

const ignoreFile = ".gitignore"

// maxRules bounds a .gitignore file of the guest, in bytes.
const maxRules = 1 << 20

// ignorer asks git which paths it ignores, in a work tree that has nothing but .gitignore
// files: the shipped ones, or the guest's if they differ. The repository's info/exclude and
// the user's core.excludesFile apply as always.
type ignorer struct {
	*importer
	dir string
	// sentinel is a path that is ignored: git check-ignore fails if none is.
	sentinel string
}

// dropIgnored removes the changes that git ignores. What the shipped snapshot has is not
// ignored, as git does not ignore what it tracks.
func (i *importer) dropIgnored(ctx context.Context) error {
	var candidates []string
	var rules []*change
	for _, c := range i.changed {
		if _, old := i.base[c.entry.Path]; !old && (i.Tracked == nil || !i.Tracked(c.entry.Path)) {
			candidates = append(candidates, c.entry.Path)
		}
		if c.entry.Type == TypeFile && path.Base(c.entry.Path) == ignoreFile {
			rules = append(rules, c)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	ig := &ignorer{importer: i, dir: i.quarantine.path("rules")}
	if err := ig.writeBase(ctx); err != nil {
		return err
	}
	if err := ig.writeGuests(ctx, rules); err != nil {
		return err
	}
	ignored, err := ig.ask(ctx, candidates)
	i.changed = slices.DeleteFunc(i.changed, func(c *change) bool { return ignored[c.entry.Path] })
	i.result.Ignored = len(ignored)
	return err
}

// writeBase writes the .gitignore files of the shipped snapshot that the guest has unchanged,
// and the one of the sentinel, whose name nobody can know.
func (ig *ignorer) writeBase(ctx context.Context) error {
	random := filepath.Base(ig.quarantine.dir)
	ig.sentinel = random + "/ignored"
	if err := ig.write(random, strings.NewReader("ignored\n")); err != nil {
		return err
	}
	changed := map[string]bool{}
	for _, c := range ig.changed {
		changed[c.entry.Path] = true
	}
	var names []string
	for name, at := range ig.base {
		if path.Base(name) == ignoreFile && at.IsFile() && !changed[name] {
			names = append(names, name)
		}
	}
	return ig.writeBlobs(ctx, names, func(name string) string { return ig.base[name].ID })
}

// writeBlobs writes .gitignore files that the repository has.
func (ig *ignorer) writeBlobs(ctx context.Context, names []string, id func(name string) string) error {
	if len(names) == 0 {
		return nil
	}
	ids := make([]string, len(names))
	for n, name := range names {
		ids[n] = id(name)
	}
	return objects.Blobs(ctx, ig.repo, ids, maxRules, func(n int, content []byte) error {
		if content == nil {
			return nil
		}
		return ig.write(path.Dir(names[n]), bytes.NewReader(content))
	})
}

// writeGuests writes the .gitignore files that the guest changed. Those in directories that
// are ignored have no effect, and a directory of packages may have thousands: they are not
// fetched.
func (ig *ignorer) writeGuests(ctx context.Context, pending []*change) error {
	for len(pending) > 0 {
		dirs := make([]string, 0, len(pending))
		for _, c := range pending {
			dir := path.Dir(c.entry.Path)
			// A pattern that ends in a slash applies to directories alone, so that they must exist.
			if err := os.MkdirAll(filepath.Join(ig.dir, dir), 0o700); err != nil {
				return err
			}
			dirs = append(dirs, dir)
		}
		ignored, err := ig.ask(ctx, dirs)
		if err != nil {
			return err
		}
		var now, later []*change
		for _, c := range pending {
			switch {
			case ig.hasAbove(c, pending): // whose rules decide
				later = append(later, c)
			case !ignored[path.Dir(c.entry.Path)]:
				now = append(now, c)
			}
		}
		if err := ig.fetchRules(ctx, now); err != nil {
			return err
		}
		pending = later
	}
	return nil
}

// hasAbove reports whether one of pending, which is sorted, lies in a directory above c.
func (ig *ignorer) hasAbove(c *change, pending []*change) bool {
	for dir := path.Dir(c.entry.Path); dir != "."; {
		dir = path.Dir(dir)
		_, found := slices.BinarySearchFunc(pending, path.Join(dir, ignoreFile), func(c *change, name string) int {
			return strings.Compare(c.entry.Path, name)
		})
		if found {
			return true
		}
	}
	return false
}

// fetchRules writes .gitignore files of the guest.
func (ig *ignorer) fetchRules(ctx context.Context, all []*change) error {
	var known, unknown []string
	ids := map[string]string{}
	for _, c := range all {
		name := c.entry.Path
		switch ids[name] = c.id; {
		case c.entry.Size > maxRules:
			ig.warn(name, "its rules do not apply: it is larger than 1 MiB")
		case c.id != "":
			known = append(known, name)
		default:
			unknown = append(unknown, name)
		}
	}
	if err := ig.writeBlobs(ctx, known, func(name string) string { return ids[name] }); err != nil || len(unknown) == 0 {
		return err
	}
	return ig.guest.Fetch(ctx, unknown, func(name string, content io.Reader) error {
		if !slices.Contains(unknown, name) {
			return malformed(name, "it was not asked for")
		}
		return ig.write(path.Dir(name), io.LimitReader(content, maxRules))
	})
}

// write writes the .gitignore file of a directory.
func (ig *ignorer) write(dir string, content io.Reader) error {
	dir = filepath.Join(ig.dir, dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, err := writeNew(filepath.Join(dir, ignoreFile), 0o600, content)
	return err
}

// ask returns which of the paths are ignored.
func (ig *ignorer) ask(ctx context.Context, names []string) (map[string]bool, error) {
	input := strings.Join(append(names, ig.sentinel), "\x00") + "\x00"
	bounded, cancel := context.WithTimeout(ctx, ig.Limits.Rules)
	defer cancel()
	out, err := ig.git(bounded, input, "--work-tree="+ig.dir, "check-ignore", "--no-index", "-z", "--stdin")
	switch {
	case err != nil && ctx.Err() == nil && bounded.Err() != nil:
		return nil, api.Errorf(api.KindTimeout, "git takes more than %v for the patterns of the guest's .gitignore files", ig.Limits.Rules).
			WithHint("simplify the patterns in the guest")
	case err != nil:
		return nil, err
	}
	ignored := map[string]bool{}
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name != "" && name != ig.sentinel {
			ignored[name] = true
		}
	}
	return ignored, nil
}
