package image

import (
	"context"
	"slices"
	"strings"

	"banger/api"
	blobstore "banger/internal/oci/blobs"
	"banger/internal/oci/registry"
	"banger/internal/paths"
)

// UseRegistries says how registries are talked to. Both are asked at each pull: file names
// one with the authorities that sign certificates (empty: the system's alone), mirrors are
// where images of a registry are looked for first. Each may be nil.
func (c *Cache) UseRegistries(file func() (string, error), mirrors func() (map[string]string, error)) {
	c.registries = registry.New(registry.Options{Blobs: c.blobs, CAFile: file, Mirrors: mirrors})
}

// openRegistries is UseRegistries without a file, and UseShortNames without a name.
func (c *Cache) openRegistries(p paths.Paths) {
	c.blobs = blobstore.Open(p.Blobs())
	c.UseRegistries(nil, nil)
	c.UseShortNames(func() (map[string]string, error) { return nil, nil })
}

// pullReference gets the image that a reference means in its registry. What the
// cache has of it does not come again.
func (c *Cache) pullReference(ctx context.Context, text string, report api.Report) (api.Image, error) {
	ref, err := registry.Parse(text)
	if err != nil {
		return api.Image{}, err
	}
	name := c.nameOf(ref)
	err = c.pulls.Do(ctx, "pull "+ref.String(), report, func(ctx context.Context, report api.Report) error {
		return c.fetch(ctx, ref, name, report)
	})
	if err != nil {
		return api.Image{}, err
	}
	image, err := c.Get(name)
	// The name that was asked for comes first, whatever others the image has.
	if n := slices.Index(image.Names, name); n > 0 {
		image.Names = slices.Insert(slices.Delete(image.Names, n, n+1), 0, name)
	}
	return image, err
}

// fetch asks the registry even where the cache has an image of that name: its tag
// may mean another one by now. What a digest names never changes.
func (c *Cache) fetch(ctx context.Context, ref registry.Reference, name string, report api.Report) error {
	if i, _, there := c.named(name); there && ref.Digest() != "" && c.whole(strings.TrimPrefix(i.Digest, "sha256:")) {
		return nil
	}
	report(api.Progress{Step: "image", Message: "asking " + ref.Registry() + " for " + ref.Familiar()})
	found, err := c.registries.Find(ctx, ref)
	if err != nil {
		return err
	}
	defer found.Close()
	if found.Note != "" {
		report(api.Progress{Step: api.StepNote, Message: found.Note})
	}
	if there, err := c.sameManifest(found.Manifest, name); there || err != nil {
		return err
	}
	img, release, err := found.Fetch(ctx, report)
	if err != nil {
		return err
	}
	defer release()
	if _, err = c.addLayered(ctx, []string{name}, img, report); err != nil && ctx.Err() == nil {
		return unusable(ref, err)
	}
	return err
}

// unusable is about an image that has come whole, and cannot be unpacked.
func unusable(ref registry.Reference, err error) error {
	e := api.Errorf(api.KindOf(err), "cannot pull %s: %w", ref, err)
	if e.Hint == "" {
		e.Hint = "try another tag, or tell who made the image"
	}
	return e
}

// sameManifest gives the image that was made of a manifest another name.
func (c *Cache) sameManifest(manifest, name string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	images, err := c.list()
	if err != nil {
		return false, err
	}
	for _, i := range images {
		if hex := strings.TrimPrefix(i.Digest, "sha256:"); i.Manifest == manifest && c.whole(hex) {
			_, err := c.name(hex, []string{name})
			return true, err
		}
	}
	return false, nil
}

// nameOf is the name that the image of a reference has in the cache: the one that
// people write, unless it means the image of the host's distribution.
func (c *Cache) nameOf(ref registry.Reference) string {
	if name := ref.Familiar(); c.host.canonical(name) == name {
		return name
	}
	return ref.String()
}

// key finds the name in the cache that ref means, as it is, as a short name or as
// a reference: alpine is alpine:latest. The caller holds mu.
func (c *Cache) key(ref string) (string, bool, error) {
	if _, there := c.names[ref]; there {
		return ref, true, nil
	}
	name, err := c.meaning(ref)
	if err != nil {
		return "", false, err
	}
	if r, err := registry.Parse(name); err == nil && name != c.host.image() {
		name = c.nameOf(r)
	}
	_, there := c.names[name]
	return name, there, nil
}

// pruneBlobs removes the layers that no image was made of.
func (c *Cache) pruneBlobs(pruned *api.Pruned) error {
	images, err := c.list()
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, i := range images {
		for _, l := range i.Layers {
			needed[l.Digest] = true
		}
	}
	layers, err := c.blobs.Prune(func(digest string) bool { return needed[digest] })
	pruned.Removed = append(pruned.Removed, layers.Removed...)
	pruned.ReclaimedBytes += layers.ReclaimedBytes
	return err
}
