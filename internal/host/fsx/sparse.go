package fsx

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyChunk is how many bytes are copied between two checks of the context.
const copyChunk = 16 << 20

// EachData calls do with the parts of f that are not holes, in order, in pieces of at
// most chunk bytes (lseek(2), SEEK_DATA).
func EachData(ctx context.Context, f *os.File, size, chunk int64, do func(at, n int64) error) error {
	for at := int64(0); at < size; {
		start, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		end, err := f.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for at = start; at < end; {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			n := min(chunk, end-at)
			if err := do(at, n); err != nil {
				return err
			}
			at += n
		}
	}
	return nil
}

// CopyData copies size bytes to an empty file, including holes, within the kernel if
// the file systems allow it (copy_file_range(2), which io.Copy uses for two files).
// done, which may be nil, receives the progress in bytes.
func CopyData(ctx context.Context, to, from *os.File, size int64, done func(at int64)) error {
	if err := to.Truncate(size); err != nil {
		return err
	}
	return EachData(ctx, from, size, copyChunk, func(at, n int64) error {
		for _, f := range []*os.File{from, to} {
			if _, err := f.Seek(at, io.SeekStart); err != nil {
				return err
			}
		}
		if _, err := io.CopyN(to, from, n); err != nil {
			return err
		}
		if done != nil {
			done(at + n)
		}
		return nil
	})
}

// CloneData is CopyData that shares the blocks if the file system supports it
// (ioctl_ficlone(2)).
func CloneData(ctx context.Context, to, from *os.File, size int64, done func(at int64)) error {
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	return CopyData(ctx, to, from, size, done)
}

// CloneFile copies a file by CloneData to a new file, and removes it on failure.
func CloneFile(ctx context.Context, from, to string, report func(done, total int64)) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = CloneData(ctx, dst, src, info.Size(), func(at int64) { report(at, info.Size()) })
	if err = errors.Join(err, dst.Close()); err != nil {
		os.Remove(to)
	}
	return err
}
