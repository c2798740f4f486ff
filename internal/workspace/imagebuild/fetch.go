package imagebuild

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/size"
)

// maxArchive bounds an image's archive in bytes. An import unpacks twice that at most.
const maxArchive = 32 * size.GiB

// resultName is the archive in the guest's directory.
const resultName = "result.tar"

// fetch copies the archive of the image into a new file of dir.
func fetch(ctx context.Context, g Guest, dirOfHost string, report api.Report) (file string, err error) {
	in, err := g.Get(ctx, path.Join(dir, resultName), nil)
	if err != nil {
		return "", err
	}
	defer in.Close()
	stream := tar.NewReader(in)
	h, err := stream.Next()
	switch {
	case err != nil:
		return "", notFetched(err)
	case h.Typeflag != tar.TypeReg || h.Size <= 0:
		return "", notFetched(errors.New("it is not a file"))
	case h.Size > maxArchive:
		return "", notFetched(errors.New("it is larger than " + size.Format(maxArchive)))
	}
	if err := fsx.NeedSpace(dirOfHost, h.Size); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dirOfHost, "banger-build-*.tar")
	if err != nil {
		return "", fsx.DiskError("get the image", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	to := &counted{w: f, total: h.Size, report: report}
	_, err = io.CopyN(to, stream, h.Size)
	if to.err != nil {
		err = fsx.DiskError("get the image", to.err)
	} else if err != nil {
		err = notFetched(err)
	}
	if err = errors.Join(err, fsx.DiskError("get the image", f.Close())); err != nil {
		return "", err
	}
	return f.Name(), nil
}

// notFetched says that the guest's archive is not one.
func notFetched(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	kind := api.KindInvalid // the stream itself is damaged
	if errors.As(err, new(*api.Error)) {
		kind = api.KindOf(err)
	}
	return api.Errorf(kind, "cannot get the image out of the builder VM: %w", err)
}

// counted is a file that is written, with its progress.
type counted struct {
	w           io.Writer
	err         error
	done, total int64
	report      api.Report
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.err = err
	c.done += int64(n)
	c.report(api.Progress{Step: "image", Message: "getting the image", Done: c.done, Total: c.total, Unit: "bytes"})
	return n, err
}
