package image

import (
	"context"
	"slices"

	"banger/api"
	"banger/internal/digeststore"
	blobstore "banger/internal/image/oci/blobs"
	"banger/internal/image/oci/registry"
	"banger/internal/image/singleflight"
)

// pulls get images from registries. Layers are kept until an image is made of them.
type pulls struct {
	maker      *maker
	blobs      *blobstore.Store // downloaded blobs
	registries *registry.Client
	flights    singleflight.Group // each ends in one of the maker's
}

func openPulls(m *maker, blobs string) *pulls {
	p := &pulls{maker: m, blobs: blobstore.Open(blobs)}
	p.use(nil, nil)
	return p
}

// use is Cache.UseRegistries.
func (p *pulls) use(file func() (string, error), mirrors func() (map[string]string, error)) {
	p.registries = registry.New(registry.Options{Blobs: p.blobs, CAFile: file, Mirrors: mirrors})
}

// pull pulls the image that a reference names from its registry. What the
// cache contains is not downloaded again.
func (p *pulls) pull(ctx context.Context, text string, report api.Report) (api.Image, error) {
	ref, err := registry.Parse(text)
	if err != nil {
		return api.Image{}, err
	}
	name := p.records().names.ofReference(ref)
	err = p.flights.Do(ctx, "pull "+ref.String(), report, func(ctx context.Context, report api.Report) error {
		return p.fetch(ctx, ref, name, report)
	})
	if err != nil {
		return api.Image{}, err
	}
	image, err := p.records().get(name)
	// The requested name comes first, whatever other names the image has.
	if n := slices.Index(image.Names, name); n > 0 {
		image.Names = slices.Insert(slices.Delete(image.Names, n, n+1), 0, name)
	}
	return image, err
}

// fetch asks the registry even if the cache has an image of that name: the tag may name
// another image by now. What a digest names never changes.
func (p *pulls) fetch(ctx context.Context, ref registry.Reference, name string, report api.Report) error {
	if i, _, there := p.records().named(name); there && ref.Digest() != "" && p.records().isComplete(digeststore.Hex(i.Digest)) {
		return nil
	}
	report(api.Progress{Step: "image", Message: "asking " + ref.Registry() + " for " + ref.Familiar()})
	found, err := p.registries.Find(ctx, ref)
	if err != nil {
		return err
	}
	defer found.Close()
	if found.Note != "" {
		report(api.Progress{Step: api.StepNote, Message: found.Note})
	}
	if there, err := p.sameManifest(found.Manifest, name); there || err != nil {
		return err
	}
	img, release, err := found.Fetch(ctx, report)
	if err != nil {
		return err
	}
	defer release()
	if _, err = p.maker.fromLayers(ctx, []string{name}, img, report); err != nil && ctx.Err() == nil {
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
func (p *pulls) sameManifest(manifest, name string) (bool, error) {
	_, there, err := p.records().nameFirst(func(r record) bool { return r.image.Manifest == manifest }, []string{name})
	return there, err
}

func (p *pulls) records() *records { return p.maker.records }

// prune removes the layers that are not used by any of the images, unless it is a dry run.
func (p *pulls) prune(images []entry, dry bool, pruned *api.Pruned) error {
	needed := map[string]bool{}
	for _, e := range images {
		for _, layer := range e.Object.image.Layers {
			needed[layer.Digest] = true
		}
	}
	return p.blobs.Prune(dry, func(digest string) bool { return needed[digest] }, pruned)
}
