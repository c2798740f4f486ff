package incoming

import (
	"bytes"
	"context"
	"strings"

	"banger/api"
)

// Modes of a tree's entries (fsck_tree in git's fsck.c).
const (
	modeFile   = "100644"
	modeExec   = "100755"
	modeLink   = "120000"
	modeModule = "160000"
)

// tree is what a commit has, by path.
type tree map[string]treeEntry

type treeEntry struct{ mode, id string }

// readTree returns the files, links and submodules of a commit.
func (i *importer) readTree(ctx context.Context, commit string) (tree, error) {
	out, err := i.repo.Git(ctx, nil, nil, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	t := make(tree, bytes.Count(out, []byte{0}))
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		meta, path, found := strings.Cut(line, "\t")
		fields := strings.Fields(meta) // mode, type, id
		if line == "" {
			continue
		}
		if !found || len(fields) != 3 {
			return nil, api.Errorf(api.KindInternal, "git ls-tree answered %.100q", line)
		}
		t[path] = treeEntry{fields[0], fields[2]}
	}
	return t, nil
}

// readBase reads the shipped snapshot.
func (i *importer) readBase(ctx context.Context) error {
	out, err := i.repo.Git(ctx, nil, nil, "rev-parse", i.Shipped.Commit+"^{commit}", i.Shipped.Commit+"^{tree}", "--")
	fields := strings.Fields(string(out))
	switch {
	case err != nil:
		return err
	case len(fields) < 2:
		return api.Errorf(api.KindInternal, "git rev-parse answered %.100q", out)
	}
	i.Shipped.Commit, i.baseTree, i.result.Tree = fields[0], fields[1], fields[1]
	i.base, err = i.readTree(ctx, i.Shipped.Commit)
	return err
}
