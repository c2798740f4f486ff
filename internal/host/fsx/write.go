package fsx

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// WriteFile writes data to path atomically: after a crash of the program or the host
// the file has either the old content or the new. After an error it has the old
// content.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	// The existing file may be of any type, such as a FIFO, whose opening would wait.
	old, missing := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if missing == nil {
		defer old.Close()
	}
	if err := replaceFile(path, bytes.NewReader(data), mode, true); err != nil {
		return err
	}
	err := SyncDir(filepath.Dir(path))
	switch {
	case err == nil:
		return nil
	// The visible content may differ from the disk's, and the caller gets an error.
	case missing == nil:
		err = errors.Join(err, putBack(path, old))
	case errors.Is(missing, os.ErrNotExist):
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// putBack restores the old content of path. It is not synced: the old content is on
// disk already, or the disk has failed.
func putBack(path string, old *os.File) error {
	info, err := old.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return replaceFile(path, old, info.Mode().Perm(), false)
}

// replaceFile replaces the file at path, which exists all the time.
func replaceFile(path string, from io.Reader, mode os.FileMode, sync bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	err = errors.Join(err, f.Chmod(mode))
	if sync {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// RemoveTemporary removes the leftovers of a killed WriteFile to path. No other process
// may be writing to path.
func RemoveTemporary(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+filepath.Base(path)+".") {
			err = errors.Join(err, os.Remove(filepath.Join(filepath.Dir(path), e.Name())))
		}
	}
	return err
}

// WriteJSON writes v to path as indented JSON, in the same way as WriteFile.
func WriteJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(path, append(data, '\n'), 0o600)
}

// SyncDir makes renames within dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
