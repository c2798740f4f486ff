package repo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/fetch"
	"banger/internal/host/fsx"
)

// Download downloads an archive into dir, as a new file of the target's name, and
// returns its path. It accepts exactly the signed bytes, and leaves no file otherwise.
// progress, which may be nil, receives the number of bytes downloaded.
func (r *Repository) Download(ctx context.Context, t Target, dir string, progress func(done, total int64)) (string, error) {
	if err := fsx.NeedSpace(dir, t.Length); err != nil {
		return "", err
	}
	b, err := r.get(ctx, fmt.Sprintf("targets/%x.%s", t.SHA256, t.Name))
	if fetch.Missing(err) {
		return "", api.Errorf(api.KindNotFound, "cannot get %s: the repository's metadata lists it, but the server does not have it", t.Name)
	}
	if err != nil {
		return "", err
	}
	defer b.Close()
	if b.Length >= 0 && b.Length != t.Length {
		return "", wrongLength(t, fmt.Sprintf("the server offers %d", b.Length))
	}
	path := filepath.Join(dir, t.Name)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", fsx.DiskError("download "+t.Name, err)
	}
	err = copyExactly(file, b, t, progress)
	if err == nil {
		err = fsx.DiskError("download "+t.Name, file.Sync())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = fsx.DiskError("download "+t.Name, fsx.SyncDir(dir))
	}
	if err == nil {
		return path, nil
	}
	return "", errors.Join(err, os.Remove(path))
}

// copyExactly writes the target's bytes and no others.
func copyExactly(file io.Writer, b *fetch.Body, t Target, progress func(done, total int64)) error {
	sum := sha256.New()
	buf := make([]byte, 128<<10)
	for done := int64(0); done < t.Length; {
		n, err := b.Read(buf[:min(int64(len(buf)), t.Length-done)])
		sum.Write(buf[:n])
		if _, err := file.Write(buf[:n]); err != nil {
			return fsx.DiskError("download "+t.Name, err)
		}
		done += int64(n)
		if progress != nil && n > 0 {
			progress(done, t.Length)
		}
		switch {
		case done == t.Length:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return wrongLength(t, fmt.Sprintf("the server sent %d", done))
		case err != nil:
			return b.Cause(err)
		}
	}
	if [32]byte(sum.Sum(nil)) != t.SHA256 {
		return refuse("cannot trust %s: its SHA-256 is %x, but %x was signed: it was altered", t.Name, sum.Sum(nil), t.SHA256).
			WithHint("do not use this file; tell the repository's publisher")
	}
	return atEnd(b, t)
}

// atEnd checks for one byte more: longer data is refused, even if its start is correct.
func atEnd(b *fetch.Body, t Target) error {
	switch n, err := io.ReadFull(b, make([]byte, 1)); {
	case n > 0:
		return wrongLength(t, "the server sent more")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return b.Cause(err)
	}
}

func wrongLength(t Target, what string) error {
	return refuse("cannot trust %s: %d bytes were signed, but %s", t.Name, t.Length, what).
		WithHint("do not use this file; tell the repository's publisher")
}
