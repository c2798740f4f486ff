package image

import (
	"context"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/host/userns"
	"banger/internal/image/distro"
	"banger/internal/image/singleflight"
)

// builds make images of the host's own distribution from its packages.
type builds struct {
	maker   *maker
	apt     *apt.Apt
	flights singleflight.Group
}

// pull builds an image, unless there is a current one.
func (b *builds) pull(ctx context.Context, name string, refresh bool, report api.Report) (api.Image, error) {
	records := b.maker.records
	if i, m, ok := records.named(name); ok && !refresh && m.Recipe == b.host().Recipe(name) && records.isComplete(digeststore.Hex(i.Digest)) {
		return i, nil
	}
	err := b.flights.Do(ctx, "pull "+name, report, func(ctx context.Context, report api.Report) error {
		if err := b.build(ctx, name, refresh, report); err != nil {
			return api.Errorf(api.KindOf(err), "cannot build image %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return api.Image{}, err
	}
	return records.get(name)
}

func (b *builds) host() distro.Release { return b.maker.records.names.host }

// buildBytes is the temporary space that a build needs: the tree and the file system
// made from it (282 MiB each on Debian 12), the packages, and a reserve.
const buildBytes = 900 * mib

// build builds an image of the host's distribution.
func (b *builds) build(ctx context.Context, name string, refresh bool, report api.Report) error {
	if _, err := execx.LookPath("mmdebstrap", "mmdebstrap"); err != nil {
		return err
	}
	if err := userns.Check(ctx); err != nil {
		return err
	}
	if err := fsx.NeedSpace(b.maker.work.dir, buildBytes); err != nil {
		return err
	}
	if err := b.apt.Update(ctx, refresh, report); err != nil {
		return err
	}
	sources, err := b.apt.Sources(ctx)
	if err != nil {
		return err
	}
	options, err := b.apt.AcquireOptions(ctx)
	if err != nil {
		return err
	}
	sources = slices.DeleteFunc(sources, func(s apt.Source) bool { return strings.HasPrefix(s.URI, "cdrom:") })
	m := &meta{Source: "packages of " + name + " " + b.host().Codename, Recipe: b.host().Recipe(name)}
	overall := distro.ScaleProgress(report)
	_, err = b.maker.fromTree(ctx, []string{name}, m, overall, func(root string) error {
		return distro.Bootstrap(ctx, root, name, sources, options, overall)
	})
	return err
}
