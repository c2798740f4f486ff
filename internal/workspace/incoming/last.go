package incoming

import (
	"context"
	"strings"
)

// compareLast finds out whether nothing at all has changed since the last import, if any commit of
// the series will do. What else decides about ignored files than the guest's own, such as the user's
// core.excludesFile, then counts as soon as something changes.
func (i *importer) compareLast(ctx context.Context) error {
	if !i.Any || i.Last == nil || !i.Last.Whole || i.Last.Began == 0 || len(i.result.Unknown)+len(i.inner) > 0 {
		return nil
	}
	last, files := remember(nil, *i.Last), 0
	for _, e := range i.entries {
		if e.Type == TypeDir { // its times say nothing that its files do not
			continue
		}
		files++
		if known := last.entries[e.Path]; known == nil || *known != e || i.Last.MayChange(e) {
			return nil
		}
	}
	for _, e := range last.entries {
		if e.Type != TypeDir {
			files--
		}
	}
	if files != 0 {
		return nil
	}
	out, err := i.repo.Git(ctx, nil, nil, "rev-parse", "-q", "--verify", i.Last.Commit+"^{tree}")
	if err != nil {
		return nil // it was removed: everything is compared
	}
	i.result.Same, i.result.Commit, i.result.Tree = true, i.Last.Commit, strings.TrimSpace(string(out))
	return nil
}
