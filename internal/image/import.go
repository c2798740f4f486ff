package image

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/image/ext4"
	"banger/internal/image/oci"
	"banger/internal/image/oci/registry"
	"banger/internal/image/rootfs"
	"banger/internal/image/tarball"
)

// CheckName refuses a name that is not valid for an image.
func (c *Cache) CheckName(name string) error { return checkName(name) }

// checkName refuses a name that is not a reference: images have the names by which they
// are pulled, and no others.
func checkName(name string) error {
	_, err := registry.Parse(name)
	return err
}

// Import makes an image from a file or directory: a root file system as a tar archive,
// a directory or an ext4 file, or an image as an OCI layout or as written by `docker
// save`. The format is detected from the content.
func (c *Cache) Import(ctx context.Context, req api.ImportImage, report api.Report) (api.Image, error) {
	if err := checkName(req.Name); err != nil {
		return api.Image{}, err
	}
	if !filepath.IsAbs(req.Path) {
		return api.Image{}, api.Errorf(api.KindInvalid, "the path of an archive must be absolute, not %q", req.Path)
	}
	image, err := c.importFrom(ctx, req, report)
	if err != nil {
		return image, api.Errorf(api.KindOf(err), "cannot import %s: %w", req.Path, err)
	}
	return image, nil
}

func (c *Cache) importFrom(ctx context.Context, req api.ImportImage, report api.Report) (api.Image, error) {
	f, err := os.OpenFile(req.Path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a fifo must not block
	if err != nil {
		return api.Image{}, api.Errorf(openKind(err), "cannot open it: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return api.Image{}, api.Errorf(api.KindInternal, "cannot open it: %w", err)
	}
	if info.IsDir() {
		return c.importDir(ctx, req, report)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return api.Image{}, api.Errorf(api.KindInvalid, "it is not an archive: it is %s", describeType(info))
	}
	report(api.Progress{Step: "image", Message: "examining " + filepath.Base(req.Path), Total: info.Size(), Unit: "bytes"})
	head := make([]byte, max(ext4.HeadBytes, tarball.SniffBytes))
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return api.Image{}, api.Errorf(api.KindInternal, "cannot read it: %w", err)
	}
	head = head[:n]
	switch {
	case isExt4(head):
		return c.importExt4(ctx, f, req, report)
	case tarball.IsCompressed(head):
		return c.importCompressed(ctx, f, info.Size(), req, report)
	}
	if e := tarball.OtherFormat(head); e != nil {
		return api.Image{}, e
	}
	return c.importTar(ctx, f, info.Size(), req, report)
}

// importTar imports an uncompressed tar archive: an image, or a root file system.
func (c *Cache) importTar(ctx context.Context, f *os.File, size int64, req api.ImportImage, report api.Report) (api.Image, error) {
	files, err := oci.OpenTar(f, f)
	if err != nil {
		return api.Image{}, err
	}
	image, ok, err := c.importImage(ctx, files, req, report)
	if ok {
		return image, err
	}
	return c.importRootfs(ctx, f, size, req, report)
}

// errIsImage means that an archive turned out to be an image while it was unpacked as a
// root file system.
var errIsImage = errors.New("it is an image")

// refuseImageName refuses to search for an image in an archive of one root file system.
func refuseImageName(req api.ImportImage) error {
	if req.Image == "" {
		return nil
	}
	return api.Errorf(api.KindInvalid, "it is a root file system, so it does not contain an image %.80q", req.Image).WithHint("leave --image out")
}

// importRootfs imports a root file system in a tar archive, compressed or not.
func (c *Cache) importRootfs(ctx context.Context, f *os.File, size int64, req api.ImportImage, report api.Report) (api.Image, error) {
	if err := refuseImageName(req); err != nil {
		return api.Image{}, err
	}
	archive := oci.Layer{Size: size, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, 0, size)), nil
	}}
	return c.add(ctx, []string{req.Name}, &meta{Source: req.Path}, report, func(root string) error {
		s, err := rootfs.Unpack(ctx, root, rootfs.Spec{Limits: c.limits}, []oci.Layer{archive}, report)
		if err == nil && s.IsImage {
			return errIsImage
		}
		if err == nil {
			s.Warn(report)
			if s.NoShell {
				report(api.Progress{Step: api.StepNote, Message: "this file system has no /bin/sh: name the program to run in the command"})
			}
		}
		return err
	})
}

func openKind(err error) api.Kind {
	switch {
	case os.IsNotExist(err):
		return api.KindNotFound
	case os.IsPermission(err):
		return api.KindDenied
	}
	return api.KindInternal
}

func describeType(info os.FileInfo) string {
	if !info.Mode().IsRegular() {
		return "not a regular file"
	}
	return "empty"
}
