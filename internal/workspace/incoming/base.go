package incoming

import (
	"context"
	"strings"

	"banger/api"
	"banger/internal/workspace/objects"
)

// readBase reads the shipped snapshot.
func (i *importer) readBase(ctx context.Context) error {
	if i.Sent != nil {
		i.Shipped = i.Sent()
	}
	out, err := i.repo.Git(ctx, nil, nil, "rev-parse", i.Shipped.Commit+"^{commit}", i.Shipped.Commit+"^{tree}", "--")
	fields := strings.Fields(string(out))
	switch {
	case err != nil:
		return api.Errorf(api.KindOf(err), "cannot read the snapshot that VM %s was sent: %w", i.VM, err).
			WithHint("banger work log lists the snapshots; banger up sends the files again")
	case len(fields) < 2:
		return api.Errorf(api.KindInternal, "git rev-parse answered %.100q", out)
	}
	i.Shipped.Commit, i.baseTree, i.result.Tree = fields[0], fields[1], fields[1]
	i.base, err = objects.Tree(ctx, i.repo, i.Shipped.Commit)
	i.warnOfInner()
	return err
}

// warnOfInner warns of repositories that are no submodules, before all else that there is to say.
func (i *importer) warnOfInner() {
	others := i.result.Warnings
	i.result.Warnings = nil
	for _, dir := range i.inner {
		if !i.inModule(dir) {
			i.warn(dir, "it is a repository: its files are imported, its commits are not")
		}
	}
	for _, w := range others {
		i.warn(w.Path, w.Text)
	}
}
