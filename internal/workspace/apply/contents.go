package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"banger/internal/workspace/objects"
)

// writeContents writes the files as they are going to be, into new below the stage, under their
// numbers. Line ends and filters are those that git would apply now in the work tree: what the
// guest did to .gitattributes does not count yet.
func (a *applier) writeContents(ctx context.Context) error {
	if err := os.Mkdir(filepath.Join(a.stage, "new"), 0o700); err != nil {
		return err
	}
	var raw []int
	var ids, filtered, info []string
	for n, act := range a.actions {
		switch {
		case act.to.Mode == "":
			if !isAttributes(act.path) {
				info = append(info, fmt.Sprintf("0 %s\t%s", strings.Repeat("0", len(a.result.Snapshot)), act.path))
			}
		case act.to.Mode == objects.ModeLink, isAttributes(act.path):
			raw, ids = append(raw, n), append(ids, act.to.ID)
		default:
			filtered = append(filtered, act.path)
			info = append(info, fmt.Sprintf("%s %s\t%s", objects.ModeFile, act.to.ID, act.path))
		}
	}
	err := objects.Blobs(ctx, a.repo, ids, maxMerge, func(i int, content []byte) error {
		return a.writeRaw(raw[i], content)
	})
	if err != nil || len(filtered) == 0 {
		return err
	}
	if err := a.checkOut(ctx, info, filtered); err != nil {
		return err
	}
	return a.number()
}

func isAttributes(name string) bool { return strings.EqualFold(path.Base(name), ".gitattributes") }

func (a *applier) newFile(n int) string { return filepath.Join(a.stage, "new", fmt.Sprint(n)) }

// writeRaw writes content to which no filter applies.
func (a *applier) writeRaw(n int, content []byte) error {
	act := a.actions[n]
	if content == nil {
		return fmt.Errorf("%.100q is too large", act.path)
	}
	if act.to.Mode == objects.ModeLink {
		act.after = state{Kind: kindLink, Link: name(content)}
		return nil
	}
	sum, err := sumOf(strings.NewReader(string(content)), a.newFile(n))
	act.after = state{Kind: kindFile, SHA256: sum}
	return err
}

// checkOut has git write files below the stage. The index for that has the snapshot's .gitattributes
// files, which count where the work tree has none.
func (a *applier) checkOut(ctx context.Context, info, names []string) error {
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(a.stage, "index")}
	private := []string{"-c", "core.splitIndex=false", "-c", "index.sparse=false", "-c", "core.untrackedCache=false"}
	git := func(input []string, args ...string) error {
		_, err := a.repo.Git(ctx, env, strings.NewReader(strings.Join(input, "\x00")+"\x00"), append(private[:len(private):len(private)], args...)...)
		return err
	}
	if places := attributesOf(names); len(places) > maxAttributes {
		if err := git(nil, "read-tree", a.result.Snapshot); err != nil {
			return err
		}
	} else {
		attributes, err := a.attributes(ctx, places)
		if err != nil {
			return err
		}
		info = append(attributes, info...)
	}
	if err := git(info, "update-index", "--add", "--replace", "-z", "--index-info"); err != nil {
		return err
	}
	return git(names, "checkout-index", "-q", "--prefix="+filepath.Join(a.stage, "out")+"/", "-z", "--stdin")
}

// maxAttributes is for how many paths git is asked whether the snapshot has them, as arguments. To read all
// of a snapshot of 10,000 files takes five times as long as to look for a few.
const maxAttributes = 500

// attributesOf returns the paths at which .gitattributes files would count for the files, sorted.
func attributesOf(names []string) []string {
	places := map[string]bool{}
	for _, name := range names {
		for dir := path.Dir(name); !places[path.Join(dir, ".gitattributes")]; dir = path.Dir(dir) {
			places[path.Join(dir, ".gitattributes")] = true
		}
	}
	return slices.Sorted(maps.Keys(places))
}

// attributes returns those of the paths that the snapshot has, as lines for git update-index --index-info,
// whose format is that of git ls-tree.
func (a *applier) attributes(ctx context.Context, places []string) ([]string, error) {
	literal := []string{"GIT_LITERAL_PATHSPECS=1"}
	out, err := a.repo.Git(ctx, literal, nil, append([]string{"ls-tree", "-z", "--full-tree", a.result.Snapshot, "--"}, places...)...)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// number moves what git wrote to its number.
func (a *applier) number() error {
	for n, act := range a.actions {
		if act.to.Mode == "" || act.after.Kind != kindAbsent {
			continue
		}
		f, err := os.Open(filepath.Join(a.stage, "out", filepath.FromSlash(act.path)))
		if err != nil {
			return err
		}
		sum, err := sumOf(f, a.newFile(n))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		act.after = state{Kind: kindFile, SHA256: sum}
	}
	return os.RemoveAll(filepath.Join(a.stage, "out"))
}
