package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"banger/api"
)

// chunk is how much is read between two looks at the context.
const chunk = 1 << 20

// eachData calls do with the parts of f that are no holes, in order, in pieces
// of at most chunk bytes (lseek(2), SEEK_DATA).
func eachData(ctx context.Context, f *os.File, size int64, do func(at, n int64) error) error {
	for at := int64(0); at < size; {
		start, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
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

// hashFile returns the SHA-256 of a file, holes included, as hexadecimal digits.
func hashFile(ctx context.Context, path string, report api.Report) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	h, zeros, buf := sha256.New(), make([]byte, chunk), make([]byte, chunk)
	var hashed int64
	skip := func(to int64) {
		for hashed < to {
			n, _ := h.Write(zeros[:min(chunk, to-hashed)])
			hashed += int64(n)
		}
	}
	err = eachData(ctx, f, info.Size(), func(at, n int64) error {
		skip(at)
		if _, err := f.ReadAt(buf[:n], at); err != nil && err != io.EOF {
			return err
		}
		h.Write(buf[:n])
		hashed += n
		if hashed%(16*mib) < chunk {
			report(api.Progress{Step: "image", Message: "computing the digest", Done: hashed, Total: info.Size(), Unit: "bytes"})
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	skip(info.Size())
	return hex.EncodeToString(h.Sum(nil)), nil
}

// cloneFile copies a file: by sharing its blocks where the file system can
// (ioctl_ficlone(2)), else without its holes. It leaves nothing when it fails.
func cloneFile(ctx context.Context, from, to string, report api.Report) (err error) {
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
	defer func() {
		err = errors.Join(err, dst.Close())
		if err != nil {
			os.Remove(to)
		}
	}()
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return nil
	}
	if err := dst.Truncate(info.Size()); err != nil {
		return err
	}
	buf := make([]byte, chunk)
	return eachData(ctx, src, info.Size(), func(at, n int64) error {
		if _, err := src.ReadAt(buf[:n], at); err != nil {
			return err
		}
		if _, err := dst.WriteAt(buf[:n], at); err != nil {
			return err
		}
		report(api.Progress{Step: "disk", Message: "copying the image", Done: at + n, Total: info.Size(), Unit: "bytes"})
		return nil
	})
}
