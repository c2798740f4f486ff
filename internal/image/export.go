package image

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"banger/api"
	"banger/internal/digeststore"
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
	image, err := c.Get(ref)
	if err != nil {
		return nil, err
	}
	if image.Registered != nil {
		if err := c.inPlace.checkRootfs(ctx, digeststore.Hex(image.Digest), func(api.Progress) {}); err != nil {
			return nil, api.Errorf(api.KindOf(err), "cannot export image %.80s: %w", ref, err)
		}
	}
	s, file, same, err := c.openImage(ref)
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
	if same != nil {
		return watched{e, same}, nil
	}
	return e, nil
}

// watched is an image whose file may change while it is written.
type watched struct {
	export.Image
	same func() error // says whether it has not
}

// Write implements export.Image. Whoever reads it knows its length: without its end it is
// not taken for an image.
func (w watched) Write(ctx context.Context, to io.Writer) error {
	held := &holdingBack{w: to}
	if err := w.Image.Write(ctx, held); err != nil {
		return err
	}
	if err := w.same(); err != nil {
		return err
	}
	_, err := to.Write(held.last)
	return err
}

// holdingBack writes everything except what was last written to it.
type holdingBack struct {
	w    io.Writer
	last []byte
}

// Write implements io.Writer.
func (h *holdingBack) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if _, err := h.w.Write(h.last); err != nil {
		return 0, err
	}
	h.last = append(h.last[:0], p...)
	return len(p), nil
}

// openImage opens an image's file, and returns all metadata of the export except its
// layer. same says later whether the file of a registered image has not changed; it is nil
// for others.
func (c *Cache) openImage(ref string) (s oci.Single, file *os.File, same func() error, err error) {
	l := c.records.Lock()
	defer l.Unlock()
	e, err := c.records.find(l, ref)
	if err != nil {
		return s, nil, nil, err
	}
	m, err := c.records.meta(e.Hex)
	if err != nil {
		return s, nil, nil, api.Errorf(api.KindInternal, "cannot read its record: %w", err)
	}
	if m.Registered {
		file, same, err = c.inPlace.open(e.Hex)
	} else {
		file, err = c.openOwn(ref, e.Hex)
	}
	if err != nil {
		return s, nil, nil, err
	}
	s = oci.Single{Arch: m.Arch, CreatedAt: m.CreatedAt, History: m.History, RawConfig: m.RawConfig}
	if m.Config != nil {
		s.Config = *m.Config
	}
	s.Name, s.Familiar = c.exportName(l, ref, e)
	return s, file, same, nil
}

// openOwn opens the file of an image that banger has.
func (c *Cache) openOwn(ref, hex string) (*os.File, error) {
	file, err := os.Open(c.records.Path(hex, rootfsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.KindNotFound, "its file is missing: %w", err).
			WithHint("banger image delete %s   and pull or import it again", ref)
	}
	if err != nil {
		return nil, api.Errorf(openKind(err), "cannot open its file: %w", err)
	}
	return file, nil
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
