package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"banger/api"
	"banger/internal/image/ext4"
	"banger/internal/image/oci"
	"banger/internal/image/oci/registry"
)

// Export is an image as an archive or a file, ready to be written. Its file system has
// been checked completely.
type Export struct {
	file    *os.File
	size    int64
	leftOut int
	write   func(w io.Writer) error
}

// Size returns how many bytes Write writes.
func (e *Export) Size() int64 { return e.size }

// LeftOut returns how many sockets are left out: a tar archive cannot contain them.
func (e *Export) LeftOut() int { return e.leftOut }

// Close closes the image's file.
func (e *Export) Close() error { return e.file.Close() }

// Write writes the whole export.
func (e *Export) Write(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(contextWriter{ctx, w}, chunk)
	if err := e.write(out); err != nil {
		return err
	}
	return out.Flush()
}

// contextWriter writes until a context ends.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// Export opens an image for writing it in a format. For an archive, it reads the file
// system once to compute its digest and size. The image can be written even if it is
// deleted in the meantime.
func (c *Cache) Export(ctx context.Context, ref, format string) (*Export, error) {
	prepare, ok := exportFormats[format]
	if !ok {
		return nil, api.Errorf(api.KindInvalid, "%.40q is not a valid format of an image: use %s, %s, %s or %s",
			format, api.ExportOCI, api.ExportDocker, api.ExportTar, api.ExportExt4)
	}
	if _, err := c.Get(ref); err != nil {
		return nil, err
	}
	s, file, err := c.openImage(ref)
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot export image %.80s: %w", ref, err)
	}
	e := &Export{file: file}
	if err := prepare(ctx, e, s); err != nil {
		file.Close()
		if ctx.Err() != nil {
			return nil, canceled(ctx)
		}
		return nil, api.Errorf(api.KindOf(err), "cannot export image %.80s: %w", ref, err)
	}
	return e, nil
}

// exportFormats are the formats an image can be written in.
var exportFormats = map[string]func(context.Context, *Export, oci.Single) error{
	api.ExportExt4: exportFile,
	api.ExportTar:  exportTree,
	api.ExportOCI: func(ctx context.Context, e *Export, s oci.Single) error {
		return exportImage(ctx, e, s, oci.Single.Layout)
	},
	api.ExportDocker: func(ctx context.Context, e *Export, s oci.Single) error {
		return exportImage(ctx, e, s, oci.Single.Saved)
	},
}

// openImage opens an image's file, and returns all metadata of the export except its
// layer.
func (c *Cache) openImage(ref string) (oci.Single, *os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.get(ref)
	if err != nil {
		return oci.Single{}, nil, err
	}
	hex := strings.TrimPrefix(i.Digest, "sha256:")
	m, err := c.meta(hex)
	if err != nil {
		return oci.Single{}, nil, api.Errorf(api.KindInternal, "cannot read its record: %w", err)
	}
	file, err := os.Open(c.path(hex, rootfsFile))
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
	s.Name, s.Familiar = c.exportName(ref, i)
	return s, file, nil
}

// exportName returns the name that an image is written with: the requested one, or else
// its first. The caller holds mu.
func (c *Cache) exportName(ref string, i api.Image) (whole, familiar string) {
	name, ok, err := c.cacheName(ref)
	if (err != nil || !ok) && len(i.Names) > 0 {
		name = i.Names[0]
	}
	r, err := registry.Parse(name)
	if err != nil {
		return "", "" // not every name of an image is valid in a registry
	}
	return r.String(), r.Familiar()
}

// exportFile writes the image's file unchanged.
func exportFile(_ context.Context, e *Export, _ oci.Single) error {
	info, err := e.file.Stat()
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read its file's size: %w", err)
	}
	e.size = info.Size()
	e.write = func(w io.Writer) error {
		_, err := io.CopyN(w, io.NewSectionReader(e.file, 0, e.size), e.size)
		return err
	}
	return nil
}

// exportTree writes only the root file system.
func exportTree(ctx context.Context, e *Export, _ oci.Single) error {
	l, err := measureTree(ctx, e.file, false)
	if err != nil {
		return err
	}
	e.size, e.leftOut = l.size, l.leftOut
	e.write = func(w io.Writer) error { return writeTree(ctx, w, l.fs, false, new(int)) }
	return nil
}

// exportImage writes the root file system as an image of one layer.
func exportImage(ctx context.Context, e *Export, s oci.Single, pack func(oci.Single) (oci.Archive, error)) error {
	l, err := measureTree(ctx, e.file, true)
	if err != nil {
		return err
	}
	s.Digest, s.Size = l.digest, l.size
	s.Write = func(w io.Writer) error { return writeTree(ctx, w, l.fs, true, new(int)) }
	archive, err := pack(s)
	if err != nil {
		return err
	}
	e.leftOut, e.write = l.leftOut, archive.Write
	e.size, err = archive.Size()
	return err
}

// measured is what has to be known of a tree before it is written.
type measured struct {
	fs      *ext4.FS
	digest  string
	size    int64
	leftOut int
}

// measureTree writes a tree to nowhere and measures it.
func measureTree(ctx context.Context, f *os.File, layer bool) (measured, error) {
	fs, err := openExt4(f)
	if err != nil {
		return measured{}, err
	}
	m := measured{fs: fs}
	h, n := sha256.New(), new(countingWriter)
	sink := io.Writer(n)
	if layer {
		sink = io.MultiWriter(h, n)
	}
	out := bufio.NewWriterSize(contextWriter{ctx, sink}, chunk)
	if err := writeTree(ctx, out, m.fs, layer, &m.leftOut); err != nil {
		return m, err
	}
	if err := out.Flush(); err != nil {
		return m, err
	}
	m.digest, m.size = fmt.Sprintf("sha256:%x", h.Sum(nil)), int64(*n)
	return m, nil
}

// countingWriter counts bytes.
type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}
