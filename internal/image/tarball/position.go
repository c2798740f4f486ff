package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"syscall"

	"banger/api"
	"banger/internal/host/fsx"
)

// Position is how far an archive was read.
type Position struct {
	Files int    // up to here, with the current one
	At    string // the current file
	Ended bool   // the archive's end was read
}

// Explain says what is wrong with an archive, and where.
func (p Position) Explain(err error) error {
	var sys syscall.Errno
	var known *api.Error
	where := "at its beginning"
	if p.Files > 0 {
		where = fmt.Sprintf("after %d files, the last of them %.200q", p.Files, p.At)
	}
	switch {
	case errors.As(err, &known) && p.Files > 0:
		return api.Errorf(known.Kind, "%w (%s)", err, where)
	case errors.As(err, &known):
		return err
	case errors.As(err, &sys):
		return fsx.DiskError("read the archive", err)
	case p.Ended && !errors.Is(err, io.ErrUnexpectedEOF):
		return api.Errorf(api.KindInvalid, "the archive is complete, but is followed by unexpected data: %w", err)
	case p.Ended:
		return api.Errorf(api.KindInvalid, "the archive is cut off after its last file: the end of its compression is missing")
	case errors.Is(err, io.ErrUnexpectedEOF) && p.Files == 0:
		return api.Errorf(api.KindInvalid, "this is not a tar archive, or it is cut off in its first file")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return api.Errorf(api.KindInvalid, "the archive is cut off %s", where)
	case errors.As(err, new(BadCompression)):
		return api.Errorf(api.KindInvalid, "the archive's compression is damaged %s: %w", where, err)
	case p.Files == 0 && errors.Is(err, tar.ErrHeader):
		return api.Errorf(api.KindInvalid, "this is not a tar archive: it does not start with a tar header")
	}
	return api.Errorf(api.KindInvalid, "the archive is damaged %s: %w", where, err)
}
