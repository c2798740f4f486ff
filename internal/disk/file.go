package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// Make creates the disk's file, which must not exist, and fills it. It leaves
// nothing behind when that fails, or when ctx has ended.
func Make(ctx context.Context, path string, fill func(f *os.File) error) error {
	if err := context.Cause(ctx); err != nil {
		return Error("create", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return Error("create", path, err)
	}
	err = errors.Join(fill(f), f.Close())
	if err == nil {
		return nil
	}
	return Error("create", path, errors.Join(err, os.Remove(path)))
}

// RemoveFile removes a disk that is one file. Absent is success.
func RemoveFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Error("remove", path, err)
	}
	return nil
}
