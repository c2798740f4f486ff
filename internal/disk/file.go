package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"banger/internal/fsx"
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

// CopyRaw is Flatten of a driver whose disks are raw files.
func CopyRaw(ctx context.Context, path, to string) error {
	f, err := os.Open(path)
	if err != nil {
		return Error("read", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Error("read", path, err)
	}
	return Make(ctx, to, func(out *os.File) error { return fsx.CloneData(ctx, out, f, info.Size(), nil) })
}

// RemoveFile removes a disk that is one file. Absent is success.
func RemoveFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Error("remove", path, err)
	}
	return nil
}
