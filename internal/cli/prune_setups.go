package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/client"
	"banger/internal/paths"
	"banger/internal/workspace"
	"banger/internal/workspace/setups"
)

// pruneImages prunes images, and those of finished setups whose workspace does not exist any more:
// no `up` begins with them, or deletes them. Other users' are not known here, and stay.
func pruneImages(ctx context.Context, c *client.Client, dry bool, report api.Report) (api.Pruned, error) {
	own, err := pruneSetups(ctx, c, dry)
	if err != nil {
		return own, err
	}
	var pruned api.Pruned
	if dry {
		pruned, err = c.Images().Prunable(ctx)
	} else {
		pruned, err = c.Images().Prune(ctx, report)
	}
	pruned.Removed = slices.Concat(own.Removed, pruned.Removed)
	pruned.Items = slices.Concat(own.Items, pruned.Items)
	pruned.ReclaimedBytes += own.ReclaimedBytes
	return pruned, err
}

func pruneSetups(ctx context.Context, c *client.Client, dry bool) (pruned api.Pruned, err error) {
	p, err := paths.User() // also in system mode: what workspaces know is the user's own
	if err != nil {
		return pruned, err
	}
	all, err := os.ReadDir(p.Workspaces())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pruned, api.Errorf(api.KindInternal, "cannot read what is known of workspaces: %w", err)
	}
	for _, e := range all {
		store := workspace.SetupsIn(filepath.Join(p.Workspaces(), e.Name()))
		found, err := store.All()
		if err != nil {
			return pruned, err
		}
		for _, setup := range found {
			if _, err := os.Lstat(setup.Workspace); setup.Workspace == "" || !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := pruneSetup(ctx, c, store, setup, dry, &pruned); err != nil {
				return pruned, err
			}
		}
	}
	return pruned, nil
}

// pruneSetup deletes the image of a setup, unless it is somebody else's by now or a VM uses it, and
// forgets the setup.
func pruneSetup(ctx context.Context, c *client.Client, store setups.Store, setup setups.Setup, dry bool, pruned *api.Pruned) error {
	image, err := c.Images().Show(ctx, setup.Name)
	there := err == nil && image.Digest == setup.Image
	switch {
	case err != nil && api.KindOf(err) != api.KindNotFound:
		return err
	case !there: // nothing goes but the record
	case len(others(image, setup.Name, pruned.Removed)) > 0: // only the name goes
		pruned.Add(setup.Name, 0)
	case len(image.UsedBy) > 0:
		return nil
	default:
		pruned.Add(setup.Name, image.SizeBytes)
	}
	if dry {
		return nil
	}
	if there {
		if err := c.Images().Delete(ctx, setup.Name); err != nil {
			return err
		}
	}
	return store.Remove(setup.ID)
}

// others are the names that an image has besides one, and those that are removed: two setups can
// have the same result.
func others(image api.Image, name string, removed []string) []string {
	return slices.DeleteFunc(slices.Clone(image.Names), func(n string) bool {
		return n == name || slices.Contains(removed, n)
	})
}
