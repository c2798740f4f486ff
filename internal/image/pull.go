package image

import (
	"context"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/host/userns"
	"banger/internal/image/distro"
)

// Pull gets an image: that of the host's own distribution is built from its packages,
// unless there is a current one; others come from registries.
func (c *Cache) Pull(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error) {
	meant, err := c.resolveShortName(req.Name)
	if err != nil {
		return api.Image{}, err
	}
	if meant != c.host.Image() {
		return c.pullReference(ctx, meant, report)
	}
	name, recipe := c.host.Image(), c.host.Recipe()
	if i, m, ok := c.named(name); ok && !req.Refresh && m.Recipe == recipe && c.isComplete(strings.TrimPrefix(i.Digest, "sha256:")) {
		return i, nil
	}
	err = c.flights.Do(ctx, "pull "+name, report, func(ctx context.Context, report api.Report) error {
		if err := c.build(ctx, name, req.Refresh, report); err != nil {
			return api.Errorf(api.KindOf(err), "cannot build image %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return api.Image{}, err
	}
	return c.Get(name)
}

// buildBytes is the temporary space that a build needs: the tree and the file system
// made from it (282 MiB each on Debian 12), the packages, and a reserve.
const buildBytes = 900 * mib

// build builds the image of the host's distribution.
func (c *Cache) build(ctx context.Context, name string, refresh bool, report api.Report) error {
	if _, err := execx.LookPath("mmdebstrap", "mmdebstrap"); err != nil {
		return err
	}
	if err := userns.Check(ctx); err != nil {
		return err
	}
	if err := fsx.NeedSpace(c.staging, buildBytes); err != nil {
		return err
	}
	if err := c.apt.Update(ctx, refresh, report); err != nil {
		return err
	}
	sources, err := c.apt.Sources(ctx)
	if err != nil {
		return err
	}
	options, err := c.apt.AcquireOptions(ctx)
	if err != nil {
		return err
	}
	sources = slices.DeleteFunc(sources, func(s apt.Source) bool { return strings.HasPrefix(s.URI, "cdrom:") })
	m := &meta{Source: "packages of " + name + " " + c.host.Codename, Recipe: c.host.Recipe()}
	overall := distro.ScaleProgress(report)
	_, err = c.add(ctx, []string{name}, m, overall, func(root string) error {
		return distro.Bootstrap(ctx, root, name, sources, options, overall)
	})
	return err
}
