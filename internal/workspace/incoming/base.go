package incoming

import (
	"context"
	"strings"

	"banger/api"
	"banger/internal/workspace/objects"
)

// readBase reads the shipped snapshot.
func (i *importer) readBase(ctx context.Context) error {
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
	return err
}
