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

// checkArchive sees that an archive holds what every host will demand, before
// it is signed: the programs, in order, and nothing else.
func checkArchive(data []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	t := tar.NewReader(z)
	for _, name := range release.Programs {
		h, err := t.Next()
		if err != nil {
			return fmt.Errorf("there is no %s: %w", name, err)
		}
		if h.Name != name || h.Typeflag != tar.TypeReg || h.Mode != 0o755 || h.Uid != 0 || h.Gid != 0 || h.Size > release.MaxProgram {
			return fmt.Errorf("%q is not the program %s, mode 0755 and root's", h.Name, name)
		}
	}
	if h, err := t.Next(); err == nil {
		return fmt.Errorf("there is %q beside the programs", h.Name)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
