package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"banger/internal/host/fsx"
)

// Make creates the disk's file, which must not exist, and fills it. When it returns, file
// and name are synced to the disk, because a VM's record refers to them. It leaves nothing
// behind if it fails or ctx has ended.
func Make(ctx context.Context, path string, fill func(f *os.File) error) error {
	if err := context.Cause(ctx); err != nil {
		return Error("create", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return Error("create", path, err)
	}
	if err = fill(f); err == nil {
		err = syncFile(f)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err == nil {
		return nil
	}
	return Error("create", path, errors.Join(err, os.Remove(path)))
}

// The functions that sync a disk; a test makes them fail.
var (
	syncFile = (*os.File).Sync
	syncDir  = fsx.SyncDir
)

// CopyRaw implements Flatten for a driver whose disks are raw files, and Cloner for one whose disks are files.
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

// GrowFile makes a file size bytes long, if it is shorter. The rest is a hole.
func GrowFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return Error("grow", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		err = errors.Join(f.Truncate(size), f.Sync())
	}
	if err != nil {
		return Error("grow", path, err)
	}
	return nil
}

// RemoveFile removes a disk that is one file. It succeeds if the file is absent.
func RemoveFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Error("remove", path, err)
	}
	return nil
}
