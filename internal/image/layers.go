package image

import (
	"context"
	"runtime"

	"banger/api"
	"banger/internal/image/oci"
	"banger/internal/image/rootfs"
)

// fromLayers makes an image from layers, and names it. If the cache contains an image
// of the same configuration, which names all layers, that image only gets the names.
func (m *maker) fromLayers(ctx context.Context, names []string, img oci.Image, report api.Report) (api.Image, error) {
	if err := checkLayered(names, img); err != nil {
		return api.Image{}, err
	}
	id := oci.Digest(img.RawConfig)
	if made, ok, err := m.sameLayers(id, names); ok {
		return made, err
	}
	err := m.flights.Do(ctx, "layers "+id, report, func(ctx context.Context, report api.Report) error {
		if _, ok, err := m.sameLayers(id, nil); ok {
			return err // another call has just made it
		}
		// The names are given at once, so that a failure leaves no image without a
		// name.
		return m.unpackLayers(ctx, id, names, img, report)
	})
	if err != nil {
		return api.Image{}, err
	}
	made, ok, err := m.sameLayers(id, names)
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
func (m *maker) sameLayers(id string, names []string) (api.Image, bool, error) {
	return m.records.nameFirst(func(r record) bool { return r.id == id }, names)
}

// unpackLayers unpacks the layers and packs the result.
func (m *maker) unpackLayers(ctx context.Context, id string, names []string, img oci.Image, report api.Report) error {
	about := &meta{
		Source: img.Ref, ID: id, Config: &img.Config, RawConfig: img.RawConfig, Reference: img.Ref, Manifest: img.ManifestDigest, History: img.History,
	}
	_, err := m.fromTree(ctx, names, about, report, func(root string) error {
		s, err := rootfs.Unpack(ctx, root, rootfs.Spec{Layered: true, Limits: m.limits, Volumes: img.Volumes}, img.Layers, report)
		if err != nil {
			return err
		}
		for n, l := range img.Layers {
			about.Layers = append(about.Layers, api.ImageLayer{Digest: l.Digest, DiffID: l.DiffID, SizeBytes: s.Layers[n]})
		}
		about.sizeHistory()
		s.Warn(report)
		return nil
	})
	if err != nil {
		return api.Errorf(api.KindOf(err), "cannot unpack the image: %w", err)
	}
	return nil
}
