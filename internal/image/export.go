package image

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"banger/api"
	"banger/internal/image/export"
	"banger/internal/image/oci"
	"banger/internal/image/oci/registry"
)

// Export opens an image for writing it in a format. For an archive, it reads the file
// system once to compute its digest and size. The image can be written even if it is
// deleted in the meantime.
func (c *Cache) Export(ctx context.Context, ref, format string) (export.Image, error) {
	if err := export.CheckFormat(format); err != nil {
		return nil, err
	}
	if _, err := c.Get(ref); err != nil {
		return nil, err
	}
	s, file, err := c.openImage(ref)
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot export image %.80s: %w", ref, err)
	}
	e, err := export.Prepare(ctx, format, file, s)
	if err != nil {
		file.Close()
		if ctx.Err() != nil {
			return nil, canceled(ctx)
		}
		return nil, api.Errorf(api.KindOf(err), "cannot export image %.80s: %w", ref, err)
	}
	return e, nil
}

// openImage opens an image's file, and returns all metadata of the export except its
// layer.
func (c *Cache) openImage(ref string) (oci.Single, *os.File, error) {
	l := c.records.Lock()
	defer l.Unlock()
	e, err := c.records.find(l, ref)
	if err != nil {
		return oci.Single{}, nil, err
	}
	m, err := c.records.meta(e.Hex)
	if err != nil {
		return oci.Single{}, nil, api.Errorf(api.KindInternal, "cannot read its record: %w", err)
	}
	file, err := os.Open(c.records.Path(e.Hex, rootfsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return oci.Single{}, nil, api.Errorf(api.KindNotFound, "its file is missing: %w", err).
			WithHint("banger image delete %s   and pull or import it again", ref)
	}
	if err != nil {
		return oci.Single{}, nil, api.Errorf(openKind(err), "cannot open its file: %w", err)
	}
	s := oci.Single{Arch: m.Arch, CreatedAt: m.CreatedAt, History: m.History, RawConfig: m.RawConfig}
	if m.Config != nil {
		s.Config = *m.Config
	}
	s.Name, s.Familiar = c.exportName(l, ref, e)
	return s, file, nil
}

// exportName returns the name that an image is written with: the requested one, or else
// its first.
func (c *Cache) exportName(l locked, ref string, e entry) (whole, familiar string) {
	name, ok, err := c.records.nameIn(l, ref)
	if (err != nil || !ok) && len(e.Names) > 0 {
		name = e.Names[0]
	}
	r, err := registry.Parse(name)
	if err != nil {
		return "", "" // not every name of an image is valid in a registry
	}
	return r.String(), r.Familiar()
}
