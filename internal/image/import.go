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
	"banger/internal/image/rootfs"
	"banger/internal/image/tarball"
)

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
	image, err := importing{c.maker, req, report}.importPath(ctx)
	if err != nil {
		return image, api.Errorf(api.KindOf(err), "cannot import %s: %w", req.Path, err)
	}
	return image, nil
}

// importing is one import: a maker fed with what is at a path.
type importing struct {
	maker  *maker
	req    api.ImportImage
	report api.Report
}

// importPath imports whatever is at the path.
func (i importing) importPath(ctx context.Context) (api.Image, error) {
	f, err := os.OpenFile(i.req.Path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a fifo must not block
	if err != nil {
		return api.Image{}, api.Errorf(openKind(err), "cannot open it: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return api.Image{}, api.Errorf(api.KindInternal, "cannot open it: %w", err)
	}
	if info.IsDir() {
		return i.importDir(ctx)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return api.Image{}, api.Errorf(api.KindInvalid, "it is not an archive: it is %s", describeType(info))
	}
	i.report(api.Progress{Step: "image", Message: "examining " + filepath.Base(i.req.Path), Total: info.Size(), Unit: "bytes"})
	head := make([]byte, max(ext4.HeadBytes, tarball.SniffBytes))
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return api.Image{}, api.Errorf(api.KindInternal, "cannot read it: %w", err)
	}
	head = head[:n]
	switch {
	case isExt4(head):
		return i.importExt4(ctx, f)
	case tarball.IsCompressed(head):
		return i.importCompressed(ctx, f, info.Size())
	}
	if e := tarball.OtherFormat(head); e != nil {
		return api.Image{}, e
	}
	return i.importTar(ctx, f, info.Size())
}

// importTar imports an uncompressed tar archive: an image, or a root file system.
func (i importing) importTar(ctx context.Context, f *os.File, size int64) (api.Image, error) {
	files, err := oci.OpenTar(f, f)
	if err != nil {
		return api.Image{}, err
	}
	image, ok, err := i.importImage(ctx, files)
	if ok {
		return image, err
	}
	return i.importRootfs(ctx, f, size)
}

// errIsImage means that an archive turned out to be an image while it was unpacked as a
// root file system.
var errIsImage = errors.New("it is an image")

// refuseImageName refuses to search for an image in an archive of one root file system.
func (i importing) refuseImageName() error {
	if i.req.Image == "" {
		return nil
	}
	return api.Errorf(api.KindInvalid, "it is a root file system, so it does not contain an image %.80q", i.req.Image).WithHint("leave --image out")
}

// importRootfs imports a root file system in a tar archive, compressed or not.
func (i importing) importRootfs(ctx context.Context, f *os.File, size int64) (api.Image, error) {
	if err := i.refuseImageName(); err != nil {
		return api.Image{}, err
	}
	archive := oci.Layer{Size: size, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, 0, size)), nil
	}}
	return i.maker.fromTree(ctx, []string{i.req.Name}, &meta{Source: i.req.Path}, i.report, func(root string) error {
		s, err := rootfs.Unpack(ctx, root, rootfs.Spec{Limits: i.maker.limits}, []oci.Layer{archive}, i.report)
		if err == nil && s.IsImage {
			return errIsImage
		}
		if err == nil {
			s.Warn(i.report)
			if s.NoShell {
				i.report(api.Progress{Step: api.StepNote, Message: "this file system has no /bin/sh: name the program to run in the command"})
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

// importExt4 imports a file system unchanged. It is not mounted.
func (i importing) importExt4(ctx context.Context, f *os.File) (api.Image, error) {
	return i.maker.fromFile(ctx, []string{i.req.Name}, &meta{Source: i.req.Path}, i.report, func(to string) error {
		return cloneFile(ctx, f.Name(), to, i.report)
	})
}
