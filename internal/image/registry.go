package image

import (
	"context"
	"slices"
	"strings"

	"banger/api"
	blobstore "banger/internal/image/oci/blobs"
	"banger/internal/image/oci/registry"
	"banger/internal/paths"
)

// UseRegistries sets how registries are accessed. Both functions are called for each
// pull: file returns a file with additional authorities that sign certificates ("":
// only the system's), mirrors returns where images of a registry are searched first.
// Each may be nil.
func (c *Cache) UseRegistries(file func() (string, error), mirrors func() (map[string]string, error)) {
	c.registries = registry.New(registry.Options{Blobs: c.blobs, CAFile: file, Mirrors: mirrors})
}

// openRegistries is UseRegistries without a file, and UseShortNames without names.
func (c *Cache) openRegistries(p paths.Paths) {
	c.blobs = blobstore.Open(p.Blobs())
	c.UseRegistries(nil, nil)
	c.UseShortNames(func() (map[string]string, error) { return nil, nil })
}

// pullReference pulls the image that a reference names from its registry. What the
// cache contains is not downloaded again.
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
	// The requested name comes first, whatever other names the image has.
	if n := slices.Index(image.Names, name); n > 0 {
		image.Names = slices.Insert(slices.Delete(image.Names, n, n+1), 0, name)
	}
	return image, err
}

// fetch asks the registry even if the cache has an image of that name: the tag may name
// another image by now. What a digest names never changes.
func (c *Cache) fetch(ctx context.Context, ref registry.Reference, name string, report api.Report) error {
	if i, _, there := c.named(name); there && ref.Digest() != "" && c.isComplete(strings.TrimPrefix(i.Digest, "sha256:")) {
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
		return explainUnpack(ref, err)
	}
	return err
}

// explainUnpack explains why an image that was downloaded completely cannot be
// unpacked.
func explainUnpack(ref registry.Reference, err error) error {
	e := api.Errorf(api.KindOf(err), "cannot pull %s: %w", ref, err)
	if e.Hint == "" {
		e.Hint = "try another tag, or report it to the image's author"
	}
	return e
}

// sameManifest gives the image that was made from a manifest another name.
func (c *Cache) sameManifest(manifest, name string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	images, err := c.list()
	if err != nil {
		return false, err
	}
	for _, i := range images {
		if hex := strings.TrimPrefix(i.Digest, "sha256:"); i.Manifest == manifest && c.isComplete(hex) {
			_, err := c.name(hex, []string{name})
			return true, err
		}
	}
	return false, nil
}

// nameOf returns the name of a reference's image in the cache: the short one, unless it
// names the image of the host's distribution.
func (c *Cache) nameOf(ref registry.Reference) string {
	if name := ref.Familiar(); c.host.Canonical(name) == name {
		return name
	}
	return ref.String()
}

// cacheName finds the name in the cache that ref names: as it is, as a short name or as
// a reference: alpine is alpine:latest. The caller holds mu.
func (c *Cache) cacheName(ref string) (string, bool, error) {
	if _, there := c.names[ref]; there {
		return ref, true, nil
	}
	name, err := c.resolveShortName(ref)
	if err != nil {
		return "", false, err
	}
	if r, err := registry.Parse(name); err == nil && name != c.host.Image() {
		name = c.nameOf(r)
	}
	_, there := c.names[name]
	return name, there, nil
}

// pruneBlobs removes the layers that are not used by any image.
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
