package image

import (
	"context"
	"runtime"
	"strings"

	"banger/api"
	"banger/internal/image/oci"
	"banger/internal/image/rootfs"
)

// addLayered makes an image from layers, and names it. If the cache contains an image
// of the same configuration, which names all layers, that image only gets the names.
func (c *Cache) addLayered(ctx context.Context, names []string, img oci.Image, report api.Report) (api.Image, error) {
	if err := checkLayered(names, img); err != nil {
		return api.Image{}, err
	}
	id := oci.Digest(img.RawConfig)
	if made, ok, err := c.sameLayers(id, names); ok {
		return made, err
	}
	err := c.flights.Do(ctx, "layers "+id, report, func(ctx context.Context, report api.Report) error {
		if _, ok, err := c.sameLayers(id, nil); ok {
			return err // another call has just made it
		}
		// The names are given at once, so that a failure leaves no image without a
		// name.
		return c.makeLayered(ctx, id, names, img, report)
	})
	if err != nil {
		return api.Image{}, err
	}
	made, ok, err := c.sameLayers(id, names)
	if !ok {
		return api.Image{}, api.Errorf(api.KindConflict, "the image was deleted while it was being made")
	}
	return made, err
}

// checkLayered refuses an image whose parts do not fit together.
func checkLayered(names []string, img oci.Image) error {
	for _, name := range names {
		if err := checkName(name); err != nil {
			return err
		}
	}
	if err := img.Fits(runtime.GOARCH); err != nil {
		return err
	}
	return img.Check()
}

// sameLayers finds the image with a configuration, and names it.
func (c *Cache) sameLayers(id string, names []string) (api.Image, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	images, err := c.list()
	if err != nil {
		return api.Image{}, true, err
	}
	for _, i := range images {
		hex := strings.TrimPrefix(i.Digest, "sha256:")
		if k, err := c.look(hex); err == nil && k.id == id && c.isComplete(hex) {
			named, err := c.name(hex, names)
			return named, true, err
		}
	}
	return api.Image{}, false, nil
}

// makeLayered unpacks the layers and packs the result.
func (c *Cache) makeLayered(ctx context.Context, id string, names []string, img oci.Image, report api.Report) error {
	m := &meta{
		Source: img.Ref, ID: id, Config: &img.Config, RawConfig: img.RawConfig, Reference: img.Ref, Manifest: img.ManifestDigest, History: img.History,
	}
	_, err := c.add(ctx, names, m, report, func(root string) error {
		s, err := rootfs.Unpack(ctx, root, rootfs.Spec{Layered: true, Limits: c.limits, Volumes: img.Volumes}, img.Layers, report)
		if err != nil {
			return err
		}
		for n, l := range img.Layers {
			m.Layers = append(m.Layers, api.ImageLayer{Digest: l.Digest, DiffID: l.DiffID, SizeBytes: s.Layers[n]})
		}
		m.sizeHistory()
		s.Warn(report)
		return nil
	})
	if err != nil {
		return api.Errorf(api.KindOf(err), "cannot unpack the image: %w", err)
	}
	return nil
}
