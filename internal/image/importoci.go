package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/image/ext4"
	"banger/internal/image/oci"
	"banger/internal/image/rootfs"
	"banger/internal/image/tarball"
)

// importImage imports an image of layers. ok is false if files contain none.
func (i importing) importImage(ctx context.Context, files fs.FS) (api.Image, bool, error) {
	img, ok, err := oci.Load(files, runtime.GOARCH, i.req.Image)
	if !ok || err != nil {
		return api.Image{}, ok, err
	}
	if img.Ref == "" {
		img.Ref = i.req.Path
	}
	image, err := i.maker.fromLayers(ctx, []string{i.req.Name}, img, i.report)
	return image, true, err
}

// importCompressed imports a compressed archive. An image's files are needed in another
// order than they are stored in, so an image is decompressed to a file first; a root
// file system is not.
func (i importing) importCompressed(ctx context.Context, f *os.File, size int64) (api.Image, error) {
	head, err := decompressedHead(io.NewSectionReader(f, 0, size))
	if err != nil {
		return api.Image{}, err
	}
	if isExt4(head) {
		return i.importPackedExt4(ctx, f, size)
	}
	if e := tarball.OtherFormat(head); e != nil {
		return api.Image{}, api.Errorf(e.Kind, "decompressed, %w", e)
	}
	if !looksLikeImage(io.NewSectionReader(f, 0, size)) {
		image, err := i.importRootfs(ctx, f, size)
		if !errors.Is(err, errIsImage) {
			return image, err
		}
	}
	return i.maker.work.make(ctx, func(dir string) (api.Image, error) {
		plain, err := os.OpenFile(filepath.Join(dir, "archive"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return api.Image{}, fsx.DiskError("decompress", err)
		}
		defer plain.Close()
		leave, err := i.maker.work.waitForTurn(ctx, i.report)
		if err != nil {
			return api.Image{}, err
		}
		defer leave()
		sparse := &sparseWriter{f: plain, room: i.maker.work.needSpace}
		err = i.decompressTo(ctx, sparse, io.NewSectionReader(f, 0, size), size)
		if err == nil {
			err = fsx.DiskError("decompress", sparse.end())
		}
		if err != nil {
			return api.Image{}, err
		}
		leave() // importTar takes a turn of its own
		return i.importTar(ctx, plain, sparse.at)
	})
}

// decompressedHead returns the first bytes of a compressed file's content.
func decompressedHead(r io.Reader) ([]byte, error) {
	plain, err := tarball.Decompress(r)
	if err != nil {
		return nil, tarball.Position{}.Explain(err)
	}
	head := make([]byte, max(ext4.HeadBytes, tarball.SniffBytes))
	n, err := tarball.FillUp(plain, head)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		return nil, tarball.Position{}.Explain(err)
	}
	return head[:n], nil
}

// importPackedExt4 imports a compressed ext4 file.
func (i importing) importPackedExt4(ctx context.Context, f *os.File, size int64) (api.Image, error) {
	if err := i.refuseImageName(); err != nil {
		return api.Image{}, err
	}
	return i.maker.fromFile(ctx, []string{i.req.Name}, &meta{Source: i.req.Path}, i.report, func(to string) error {
		out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		sparse := &sparseWriter{f: out, room: i.maker.work.needSpace}
		err = i.decompressTo(ctx, sparse, io.NewSectionReader(f, 0, size), size)
		return errors.Join(err, sparse.end(), out.Close())
	})
}

const roomEvery = 64 * mib // how often the space is checked

// sparseWriter writes a file sequentially, with holes for zeros.
type sparseWriter struct {
	f     *os.File
	room  func(n int64) error
	at    int64
	asked int64 // up to where space was checked
}

// Write implements io.Writer.
func (s *sparseWriter) Write(p []byte) (int, error) {
	if end := s.at + int64(len(p)); end > s.asked {
		if err := s.room(roomEvery); err != nil {
			return 0, err
		}
		s.asked = end + roomEvery
	}
	if err := fsx.WriteSparse(s.f, s.at, p); err != nil {
		return 0, err
	}
	s.at += int64(len(p))
	return len(p), nil
}

// end sets the length of the file, which may end in a hole.
func (s *sparseWriter) end() error { return s.f.Truncate(s.at) }

// imageSniffBytes is how much of a decompressed archive is read to detect an image:
// more than an image's first entries occupy.
const imageSniffBytes = 1 << 20

// looksLikeImage reports whether an archive starts like an image.
func looksLikeImage(r io.Reader) bool {
	plain, err := tarball.Decompress(r)
	if err != nil {
		return false
	}
	archive := tar.NewReader(io.LimitReader(plain, imageSniffBytes))
	for range 3 { // a global header and ./ may come first
		h, err := archive.Next()
		if err != nil {
			return false
		}
		if oci.BeginsImage(h.Name) {
			return true
		}
	}
	return false
}

func (i importing) decompressTo(ctx context.Context, w io.Writer, in io.Reader, size int64) error {
	count := tarball.NewCounter(in, func(n int64) {
		i.report(api.Progress{Step: "image", Message: "decompressing", Done: n, Total: size, Unit: "bytes"})
	})
	r, err := tarball.Decompress(count)
	if err != nil {
		return damaged(err)
	}
	bounded := &boundedReader{r: r, check: func(out int64) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return i.maker.limits.Check(count.Bytes(), out)
	}}
	source := &tarball.Source{R: bounded}
	_, err = io.Copy(w, source)
	var known *api.Error
	switch {
	case errors.As(err, &known) || ctx.Err() != nil:
		return err
	case source.Err != nil:
		return damaged(source.Err)
	}
	return fsx.DiskError("decompress", err)
}

// damaged explains why a compressed file cannot be decompressed.
func damaged(err error) error {
	if errors.As(err, new(*api.Error)) {
		return err
	}
	return api.Errorf(api.KindInvalid, "its compression is damaged or cut off: %w", err)
}

// boundedReader calls check after each read.
type boundedReader struct {
	r     io.Reader
	n     int64
	check func(n int64) error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if bad := b.check(b.n); bad != nil {
		return n, bad
	}
	return n, err
}

// nonblockingRoot is a directory's files. Opening a fifo there does not wait.
type nonblockingRoot struct{ *os.Root }

// ReadLink implements fs.ReadLinkFS, as Lstat of Root does.
func (u nonblockingRoot) ReadLink(name string) (string, error) { return u.Readlink(name) }

// Open implements fs.FS.
func (u nonblockingRoot) Open(name string) (fs.File, error) {
	return u.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// importDir imports a directory: an OCI layout, or a root file system.
func (i importing) importDir(ctx context.Context) (api.Image, error) {
	root, err := os.OpenRoot(i.req.Path) // links in it do not lead outside
	if err != nil {
		return api.Image{}, api.Errorf(openKind(err), "cannot open it: %w", err)
	}
	defer root.Close()
	if image, ok, err := i.importImage(ctx, nonblockingRoot{root}); ok {
		return image, err
	}
	if err := i.refuseImageName(); err != nil {
		return api.Image{}, err
	}
	if entries, err := os.ReadDir(i.req.Path); err != nil || len(entries) == 0 {
		return api.Image{}, api.Errorf(api.KindInvalid, "it is an empty or unreadable directory")
	}
	leave, err := i.maker.work.waitForTurn(ctx, i.report)
	if err != nil {
		return api.Image{}, err
	}
	defer leave()
	return i.maker.work.make(ctx, func(dir string) (api.Image, error) {
		m := &meta{Source: i.req.Path}
		size, err := rootfs.Pack(ctx, i.req.Path, filepath.Join(dir, rootfsFile), false, i.report)
		if err != nil {
			return api.Image{}, err
		}
		m.DiskBytes = size
		return i.maker.seal(ctx, dir, []string{i.req.Name}, m, i.report)
	})
}
