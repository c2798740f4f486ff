package cli

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fsx"
)

// seekableFile returns the path of a file that the daemon can read in any order: the file
// that the command line names, or a copy of standard input ("-"), a pipe (`<(…)`) or a
// socket, which only this process can read. remove removes the copy. streamed reports
// whether there is one.
func (s *streams) seekableFile(name string) (path string, streamed bool, remove func(), err error) {
	nothing := func() {}
	from := s.in
	if name != "-" {
		if path, err = existing(name); err != nil {
			return "", false, nothing, err
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket|os.ModeCharDevice) == 0 {
			return path, false, nothing, nil
		}
		f, err := os.Open(path)
		if err != nil {
			return "", true, nothing, api.Errorf(api.KindInvalid, "cannot read file: %w", err)
		}
		defer f.Close()
		from = f
	}
	if _, tty := terminal(from); tty {
		return "", true, nothing, api.Errorf(api.KindInvalid, "cannot read an image from a terminal").WithHint("banger image import - NAME < FILE")
	}
	dir := cmp.Or(s.env("TMPDIR"), "/var/tmp") // /tmp is often in memory
	f, err := os.CreateTemp(dir, "banger-import-*")
	if err != nil {
		return "", true, nothing, fsx.DiskError("copy the input", err)
	}
	remove = func() { _ = os.Remove(f.Name()) }
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Close()); err != nil {
		remove()
		return "", true, nothing, fsx.DiskError("copy the input", err)
	}
	path, err = filepath.Abs(f.Name())
	return path, true, remove, err
}
