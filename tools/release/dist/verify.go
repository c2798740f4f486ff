package dist

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"banger/internal/update/release"
)

// checkArchive checks, before an archive is signed, that it has what every host
// requires: the programs, in order, and nothing else.
func checkArchive(data []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	t := tar.NewReader(z)
	for _, name := range release.Programs {
		h, err := t.Next()
		if err != nil {
			return fmt.Errorf("%s is missing: %w", name, err)
		}
		if h.Name != name || h.Typeflag != tar.TypeReg || h.Mode != 0o755 || h.Uid != 0 || h.Gid != 0 || h.Size > release.MaxProgram {
			return fmt.Errorf("%q is not the program %s with mode 0755 and owner root", h.Name, name)
		}
	}
	if h, err := t.Next(); err == nil {
		return fmt.Errorf("unexpected file %q", h.Name)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
