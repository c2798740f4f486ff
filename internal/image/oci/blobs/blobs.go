// Package blobs stores the compressed layers of images by their digest. A blob in the
// store is complete and verified. An incomplete one is a file beside it, and the next
// attempt, of this daemon or a later one, continues its download.
package blobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/image/oci"
	"banger/internal/image/singleflight"
)

// Blob is the digest and size of a blob.
type Blob struct {
	Digest string // "sha256:…"
	Size   int64
}

// Source opens a blob at an offset. It may return the blob from an earlier offset,
// which it returns as from. An error that is Temporary is retried.
type Source func(ctx context.Context, offset int64) (body io.ReadCloser, from int64, err error)

// Temporary marks an error after which a retry makes sense.
type Temporary struct{ Err error }

// Error returns the text of the marked error.
func (t Temporary) Error() string { return t.Err.Error() }

// Unwrap returns the marked error.
func (t Temporary) Unwrap() error { return t.Err }

// partSuffix is the suffix of an incomplete blob's file name.
const partSuffix = ".part"

// Store holds the blobs of one installation. One process at a time may open it.
type Store struct {
	dir     string
	flights singleflight.Group

	mu       sync.Mutex
	held     map[string]int  // blobs that are not pruned, by digest
	verified map[string]bool // by digest: verified by this process
}

// Open opens the blobs in dir, which is created when the first blob is stored.
func Open(dir string) *Store {
	return &Store{dir: dir, held: map[string]int{}, verified: map[string]bool{}}
}

// path returns the path of a blob. The caller has checked the digest.
func (s *Store) path(digest string) string {
	return filepath.Join(s.dir, strings.TrimPrefix(digest, "sha256:"))
}

// Hold keeps blobs from being pruned until release is called.
func (s *Store) Hold(digests ...string) (release func()) {
	s.count(digests, 1)
	return sync.OnceFunc(func() { s.count(digests, -1) })
}

func (s *Store) count(digests []string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range digests {
		if s.held[d] += n; s.held[d] == 0 {
			delete(s.held, d)
		}
	}
}

// Missing returns how many bytes of a blob still have to be downloaded.
func (s *Store) Missing(b Blob) int64 {
	if info, err := os.Stat(s.path(b.Digest)); err == nil && info.Size() == b.Size {
		return 0
	}
	if info, err := os.Stat(s.path(b.Digest) + partSuffix); err == nil && info.Size() <= b.Size {
		return b.Size - info.Size()
	}
	return b.Size
}

// NeedSpace checks that there is space for n more bytes.
func (s *Store) NeedSpace(n int64) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fsx.DiskError("make directory", err)
	}
	return fsx.NeedSpace(s.dir, n)
}

// Open opens a blob that Get has downloaded.
func (s *Store) Open(digest string) (io.ReadCloser, error) {
	if !oci.IsDigest(digest) {
		return nil, api.Errorf(api.KindInvalid, "%.80q is not a digest of a blob", digest)
	}
	f, err := os.Open(s.path(digest))
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot open a layer: %w", err).
			WithHint("pull the image again")
	}
	return f, nil
}

// Get downloads a blob unless it is in the store: complete, with the right digest. It
// calls report with the number of bytes in the store.
func (s *Store) Get(ctx context.Context, b Blob, source Source, report api.Report) error {
	if !oci.IsDigest(b.Digest) {
		return api.Errorf(api.KindInvalid, "%.80q is not a digest of a blob", b.Digest)
	}
	defer s.Hold(b.Digest)()
	return s.flights.Do(ctx, b.Digest, report, func(ctx context.Context, report api.Report) error {
		there, err := s.verify(b)
		if err != nil {
			return err
		}
		if !there {
			if err := s.download(ctx, b, source, report); err != nil {
				return err
			}
		}
		s.mu.Lock()
		s.verified[b.Digest] = true
		s.mu.Unlock()
		report(api.Progress{Done: b.Size, Total: b.Size, Unit: "bytes"})
		return nil
	})
}

// verify reports whether the blob is in the store. It removes a blob whose content does
// not match its digest. Each blob is verified once per process.
func (s *Store) verify(b Blob) (bool, error) {
	path := s.path(b.Digest)
	s.mu.Lock()
	known := s.verified[b.Digest]
	s.mu.Unlock()
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fsx.DiskError("find a layer", err)
	case known && info.Size() == b.Size:
		return true, nil
	}
	if info.Size() == b.Size {
		f, err := os.Open(path)
		if err != nil {
			return false, fsx.DiskError("open a layer", err)
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return false, fsx.DiskError("read a layer", err)
		}
		if "sha256:"+hex.EncodeToString(h.Sum(nil)) == b.Digest {
			return true, nil
		}
	}
	return false, fsx.DiskError("remove a damaged layer", os.Remove(path))
}

// Prune removes the blobs, and the incomplete blobs, that are neither needed nor held, and
// adds them to pruned. A dry run adds the same, and removes nothing.
func (s *Store) Prune(dry bool, needed func(digest string) bool, pruned *api.Pruned) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return api.Errorf(api.KindInternal, "cannot list the layers of images: %w", err)
	}
	for _, e := range entries {
		hex, part := strings.CutSuffix(e.Name(), partSuffix)
		digest := "sha256:" + hex
		if !oci.IsDigest(digest) || s.held[digest] > 0 || !part && needed(digest) {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		bytes := fsx.Usage(path)
		if !dry {
			if err := os.Remove(path); err != nil {
				return api.Errorf(api.KindInternal, "cannot remove a layer: %w", err)
			}
			delete(s.verified, digest)
		}
		pruned.Add("layer "+digest[:19], bytes)
	}
	return nil
}
