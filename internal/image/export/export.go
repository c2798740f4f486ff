package export

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/image/ext4"
	"banger/internal/image/oci"
)

// Image is an image as an archive or a file, ready to be written. Its file system has
// been checked completely.
type Image interface {
	Size() int64  // how many bytes Write writes
	LeftOut() int // how many sockets are left out: a tar archive cannot contain them
	// Write writes all of it, until ctx ends.
	Write(ctx context.Context, w io.Writer) error
	// Close closes the image's file.
	Close() error
}

// prepared implements Image.
type prepared struct {
	file    *os.File
	size    int64
	leftOut int
	write   func(w io.Writer) error
}

func (p *prepared) Size() int64  { return p.size }
func (p *prepared) LeftOut() int { return p.leftOut }
func (p *prepared) Close() error { return p.file.Close() }

// Write implements Image.
func (p *prepared) Write(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(contextWriter{ctx, w}, chunk)
	if err := p.write(out); err != nil {
		return err
	}
	return out.Flush()
}

// chunk is how many bytes are written between two checks of the context.
const chunk = 1 << 20

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

// formats are the formats an image can be written in.
var formats = map[string]func(context.Context, *prepared, oci.Single) error{
	api.ExportExt4: exportFile,
	api.ExportTar:  exportTree,
	api.ExportOCI: func(ctx context.Context, p *prepared, s oci.Single) error {
		return exportImage(ctx, p, s, oci.Single.Layout)
	},
	api.ExportDocker: func(ctx context.Context, p *prepared, s oci.Single) error {
		return exportImage(ctx, p, s, oci.Single.Saved)
	},
}

// CheckFormat refuses a format that Prepare does not know.
func CheckFormat(format string) error {
	if _, ok := formats[format]; !ok {
		return api.Errorf(api.KindInvalid, "%.40q is not a valid format of an image: use %s, %s, %s or %s",
			format, api.ExportOCI, api.ExportDocker, api.ExportTar, api.ExportExt4)
	}
	return nil
}

// Prepare prepares the image whose file system is in file for being written in a format.
// s is all metadata of the export except its layer. For an archive, Prepare reads the
// file system once to compute its digest and size. The returned Image owns file; if there
// is an error, Prepare leaves it open.
func Prepare(ctx context.Context, format string, file *os.File, s oci.Single) (Image, error) {
	if err := CheckFormat(format); err != nil {
		return nil, err
	}
	p := &prepared{file: file}
	if err := formats[format](ctx, p, s); err != nil {
		return nil, err
	}
	return p, nil
}

// exportFile writes the image's file unchanged.
func exportFile(_ context.Context, p *prepared, _ oci.Single) error {
	info, err := p.file.Stat()
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read its file's size: %w", err)
	}
	p.size = info.Size()
	p.write = func(w io.Writer) error {
		_, err := io.CopyN(w, io.NewSectionReader(p.file, 0, p.size), p.size)
		return err
	}
	return nil
}

// exportTree writes only the root file system.
func exportTree(ctx context.Context, p *prepared, _ oci.Single) error {
	l, err := measureTree(ctx, p.file, false)
	if err != nil {
		return err
	}
	p.size, p.leftOut = l.size, l.leftOut
	p.write = func(w io.Writer) error { return writeTree(ctx, w, l.fs, false, new(int)) }
	return nil
}

// exportImage writes the root file system as an image of one layer.
func exportImage(ctx context.Context, p *prepared, s oci.Single, pack func(oci.Single) (oci.Archive, error)) error {
	l, err := measureTree(ctx, p.file, true)
	if err != nil {
		return err
	}
	s.Digest, s.Size = l.digest, l.size
	s.Write = func(w io.Writer) error { return writeTree(ctx, w, l.fs, true, new(int)) }
	archive, err := pack(s)
	if err != nil {
		return err
	}
	p.leftOut, p.write = l.leftOut, archive.Write
	p.size, err = archive.Size()
	return err
}

// openExt4 opens the file system in an image's file.
func openExt4(f *os.File) (*ext4.FS, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fsx.DiskError("read the file system", err)
	}
	return ext4.Open(f, info.Size())
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
