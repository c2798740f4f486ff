package blobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// A broken download is retried after half a second, one, two …, a limited number of
// times. After progress bytes the count starts again.
const (
	attempts = 6
	progress = 1 << 20
)

// firstWait is a variable only for tests.
var firstWait = 500 * time.Millisecond

// part is an incomplete blob.
type part struct {
	Blob
	file *os.File
	hash hash.Hash
	done int64 // bytes in file and hash
	old  bool  // some of them are from an earlier daemon
}

// download downloads a blob's missing bytes and moves it to its place.
func (s *Store) download(ctx context.Context, b Blob, source Source, report api.Report) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fsx.DiskError("make directory", err)
	}
	path := s.path(b.Digest) + partSuffix
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fsx.DiskError("store a layer", err)
	}
	defer f.Close()
	p := &part{Blob: b, file: f, hash: sha256.New()}
	err = p.resume()
	if err == nil {
		err = p.complete(ctx, source, report)
	}
	if err == nil {
		err = p.check()
	}
	if errors.Is(err, errDigest) && p.old {
		// The bytes that an earlier daemon left may be wrong: the host may have
		// crashed.
		if err = p.restart(); err == nil {
			err = p.complete(ctx, source, report)
		}
		if err == nil {
			err = p.check()
		}
	}
	switch {
	case errors.Is(err, errDigest), api.KindOf(err) == api.KindNoSpace:
		// The part cannot be continued, or its space is needed.
		return errors.Join(err, os.Remove(path))
	case err != nil:
		return err
	}
	return fsx.DiskError("store a layer", s.store(f, path, s.path(b.Digest)))
}

// store gives a complete layer its name. If that fails, the file is removed: after a
// failed fsync the bytes that are read may differ from those on disk.
func (s *Store) store(f *os.File, part, path string) error {
	err := f.Sync()
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := fsx.SyncDir(s.dir); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// resume hashes the existing content of the file.
func (p *part) resume() error {
	n, err := io.Copy(p.hash, p.file)
	if err != nil {
		return fsx.DiskError("read a layer", err)
	}
	p.done, p.old = n, n > 0
	if n > p.Size {
		return p.restart()
	}
	return nil
}

func (p *part) restart() error {
	p.hash.Reset()
	p.done, p.old = 0, false
	_, err := p.file.Seek(0, io.SeekStart)
	return fsx.DiskError("store a layer", errors.Join(err, p.file.Truncate(0)))
}

// errDigest is the error of a blob that does not have the requested digest.
var errDigest = errors.New("wrong digest")

func (p *part) check() error {
	got := "sha256:" + hex.EncodeToString(p.hash.Sum(nil))
	if got == p.Digest {
		return nil
	}
	return api.Errorf(api.KindInvalid, "%w: the registry sent %s for layer %s", errDigest, got, p.Digest).
		WithHint("try again; if it fails again, the registry or a proxy serves wrong data")
}

// complete downloads the missing bytes, in several attempts if necessary.
func (p *part) complete(ctx context.Context, source Source, report api.Report) error {
	best, wait := p.done, firstWait
	for try := 1; p.done < p.Size; try++ {
		err := p.fetch(ctx, source, report)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return canceled(ctx)
		}
		if !errors.As(err, new(Temporary)) {
			return err
		}
		if p.done >= best+progress {
			best, wait, try = p.done, firstWait, 0
		}
		if try == attempts {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return canceled(ctx)
		}
		wait *= 2
	}
	return nil
}

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "the download was stopped: %w", context.Cause(ctx))
}

// fetch downloads the missing bytes over one connection.
func (p *part) fetch(ctx context.Context, source Source, report api.Report) error {
	body, from, err := source(ctx, p.done)
	if err != nil {
		return err
	}
	defer body.Close()
	if from != p.done {
		if from != 0 {
			return api.Errorf(api.KindInternal, "the registry sent layer %s from byte %d, not %d", p.Digest, from, p.done)
		}
		if err := p.restart(); err != nil {
			return err
		}
	}
	buf := make([]byte, 128<<10)
	for p.done < p.Size {
		n, err := body.Read(buf[:min(int64(len(buf)), p.Size-p.done)])
		if n > 0 {
			if err := p.add(buf[:n]); err != nil {
				return err
			}
			report(api.Progress{Done: p.done, Total: p.Size, Unit: "bytes"})
		}
		switch {
		case p.done == p.Size:
		case err == io.EOF:
			return Temporary{io.ErrUnexpectedEOF}
		case err != nil:
			return err
		}
	}
	return nil
}

func (p *part) add(data []byte) error {
	if _, err := p.file.Write(data); err != nil {
		return fsx.DiskError("store a layer", err)
	}
	p.hash.Write(data)
	p.done += int64(len(data))
	return nil
}
