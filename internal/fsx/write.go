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

// WriteFile writes data to path so that after a crash of the program or the
// host the file holds either the old content or the new. After an error it holds the old.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	// What is there may be anything, such as a FIFO, whose opening would wait.
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
	// What is seen is not what the disk has, and the caller is told that it failed.
	case missing == nil:
		err = errors.Join(err, putBack(path, old))
	case errors.Is(missing, os.ErrNotExist):
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// putBack writes what path held before. It is not synced: the disk has it, or has failed.
func putBack(path string, old *os.File) error {
	info, err := old.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return replaceFile(path, old, info.Mode().Perm(), false)
}

// replaceFile puts a file in the place of the one at path, which is there all the time.
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

// RemoveTemporary removes what a WriteFile to path left that was killed. Nobody
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

// WriteJSON writes v to path as indented JSON, like WriteFile.
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
