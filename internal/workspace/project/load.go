package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/size"

	"golang.org/x/sys/unix"
)

// Name is the name of the file, at the top of a workspace.
const Name = "banger.toml"

// maxFile bounds a banger.toml in bytes: real ones have some dozen lines.
const maxFile = 64 * size.KiB

// Load reads the banger.toml of a workspace, and reports whether there is one. An error of kind
// api.KindInvalid names every mistake with its line.
func Load(top string) (c Config, found bool, err error) {
	data, err := ReadFile(top, Name, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Config{}, false, nil
	case err != nil:
		return Config{}, true, api.Errorf(api.KindInvalid, "cannot read %s: %w", filepath.Join(top, Name), err)
	}
	c, err = Parse(filepath.Join(top, Name), data)
	return c, true, err
}

// ReadFile reads a regular file of a workspace, of at most so many bytes. It neither follows a link
// out of the workspace nor waits for a FIFO's other end. A missing file is an fs.ErrNotExist.
func ReadFile(top, name string, most int64) ([]byte, error) {
	root, err := os.OpenRoot(top)
	if err != nil { // not an fs.ErrNotExist: there is no workspace
		return nil, errors.New(err.Error())
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fsx.Cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fsx.Cause(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most { // also of a file that grows while it is read
		err = fmt.Errorf("it is larger than %s", size.Format(most))
	}
	if err != nil {
		return nil, fsx.Cause(err)
	}
	return data, nil
}
