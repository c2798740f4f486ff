// Package blobs keeps what registries serve by its digest: the compressed layers
// of images. A blob that is there is whole and was verified; one that is still
// coming is a file beside it, which the next attempt, of this daemon or of the
// next one, goes on with.
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
	"banger/internal/flight"
	"banger/internal/fsx"
	"banger/internal/oci"
)

// Blob names a blob and says how large it is.
type Blob struct {
	Digest string // "sha256:…"
	Size   int64
}

// Source opens a blob at an offset. It may give it from the beginning instead:
// from says where it is. An error that is Temporary is tried again.
type Source func(ctx context.Context, offset int64) (body io.ReadCloser, from int64, err error)

// Temporary marks an error after which it is worth trying again.
type Temporary struct{ Err error }

// Error returns the text of the error that is marked.
func (t Temporary) Error() string { return t.Err.Error() }

// Unwrap returns the error that is marked.
func (t Temporary) Unwrap() error { return t.Err }

// partSuffix is what the name of a blob that is still coming ends with.
const partSuffix = ".part"

// Store is the blobs of one installation. One process at a time has it open.
type Store struct {
	dir     string
	flights flight.Group

	mu       sync.Mutex
	held     map[string]int  // what is not pruned, by digest
	verified map[string]bool // by digest: since this process runs
}

// Open opens the blobs in dir, which is made when there is something to keep.
func Open(dir string) *Store {
	return &Store{dir: dir, held: map[string]int{}, verified: map[string]bool{}}
}

// path is where a blob is. The caller has checked the digest.
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

// Missing returns how many bytes of a blob are not there yet.
func (s *Store) Missing(b Blob) int64 {
	if info, err := os.Stat(s.path(b.Digest)); err == nil && info.Size() == b.Size {
		return 0
	}
	if info, err := os.Stat(s.path(b.Digest) + partSuffix); err == nil && info.Size() <= b.Size {
		return b.Size - info.Size()
	}
	return b.Size
}

// NeedSpace says whether there is room for n more bytes.
func (s *Store) NeedSpace(n int64) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fsx.DiskError("make directory", err)
	}
	return fsx.NeedSpace(s.dir, n)
}

// Open opens a blob that Get has got.
func (s *Store) Open(digest string) (io.ReadCloser, error) {
	if !oci.IsDigest(digest) {
		return nil, api.Errorf(api.KindInvalid, "%.80q is no digest of a blob", digest)
	}
	f, err := os.Open(s.path(digest))
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot open a layer: %w", err).
			WithHint("pull the image again")
	}
	return f, nil
}

// Get makes a blob be there: whole, with the right digest. report is told how
// many of its bytes are.
func (s *Store) Get(ctx context.Context, b Blob, source Source, report api.Report) error {
	if !oci.IsDigest(b.Digest) {
		return api.Errorf(api.KindInvalid, "%.80q is no digest of a blob", b.Digest)
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

// verify says whether the blob is there. What is not what its name says, damaged
// by hand or by the disk, is removed. One look per process is enough.
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
		return false, fsx.DiskError("look for a layer", err)
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

// Prune removes the blobs, and the parts of blobs, that nobody needs or holds.
func (s *Store) Prune(needed func(digest string) bool) (api.Pruned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pruned api.Pruned
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return pruned, api.Errorf(api.KindInternal, "cannot look at the layers of images: %w", err)
	}
	for _, e := range entries {
		hex, part := strings.CutSuffix(e.Name(), partSuffix)
		digest := "sha256:" + hex
		if !oci.IsDigest(digest) || s.held[digest] > 0 || !part && needed(digest) {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		bytes := fsx.Usage(path)
		if err := os.Remove(path); err != nil {
			return pruned, api.Errorf(api.KindInternal, "cannot remove a layer: %w", err)
		}
		delete(s.verified, digest)
		pruned.Removed = append(pruned.Removed, "layer "+digest[:19])
		pruned.ReclaimedBytes += bytes
	}
	return pruned, nil
}
