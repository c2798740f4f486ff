package cli

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/fsx"
)

// spool is a file that can be read in any order, as the daemon does, of what a command
// line names: the file itself, or a copy of what comes from standard input ("-"), a
// pipe (`<(…)`) or a socket, which nobody but this process can read. remove removes the
// copy. streamed says that there is one.
func (a *app) spool(name string) (path string, streamed bool, remove func(), err error) {
	nothing := func() {}
	from := a.in
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
	dir := cmp.Or(a.env("TMPDIR"), "/var/tmp") // /tmp is often in memory
	f, err := os.CreateTemp(dir, "banger-import-*")
	if err != nil {
		return "", true, nothing, fsx.DiskError("copy what is to be imported", err)
	}
	remove = func() { _ = os.Remove(f.Name()) }
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Close()); err != nil {
		remove()
		return "", true, nothing, fsx.DiskError("copy what is to be imported", err)
	}
	path, err = filepath.Abs(f.Name())
	return path, true, remove, err
}
