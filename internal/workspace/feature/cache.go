package feature

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/image/oci/blobs"
	"banger/internal/image/oci/registry"
)

// unusedFor is how long an archive stays in the cache without being used.
const unusedFor = 30 * 24 * time.Hour

// Registries say how registries are accessed, by the user's settings.
type Registries struct {
	CAFile   string            // further certificates; "" if there are none
	AuthFile string            // passwords, in addition to Docker's and Podman's; "" if there are none
	Mirrors  map[string]string // where what is in a registry is searched first
	Proxy    *url.URL          // nil: the environment's
}

// Cache are the archives of features that this user has used, by their digests.
type Cache struct {
	dir        string
	lock       *os.File
	blobs      *blobs.Store
	registries *registry.Client
	used       map[string]bool
}

// OpenCache opens the cache in a directory, which is made if it is missing. It waits until no other
// program has it open. The caller must close it.
func OpenCache(ctx context.Context, dir string, how Registries) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fsx.DiskError("make the cache of features", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fsx.DiskError("lock the cache of features", err)
	}
	if err := fsx.Flock(ctx, lock); err != nil {
		lock.Close()
		return nil, api.Errorf(api.KindCanceled, "cannot lock the cache of features: %w", err)
	}
	c := &Cache{dir: dir, lock: lock, used: map[string]bool{}, blobs: blobs.Open(filepath.Join(dir, "sha256"))}
	o := registry.Options{
		Blobs:    c.blobs,
		CAFile:   func() (string, error) { return how.CAFile, nil },
		AuthFile: how.AuthFile,
		Mirrors:  func() (map[string]string, error) { return how.Mirrors, nil },
	}
	if how.Proxy != nil {
		o.Proxy = func(*http.Request) (*url.URL, error) { return how.Proxy, nil }
	}
	c.registries = registry.New(o)
	return c, nil
}

// Close removes archives that were not used for a month, and lets other programs use the cache. What
// cannot be removed stays: it does no harm.
func (c *Cache) Close() {
	now := time.Now()
	for digest := range c.used {
		_ = os.Chtimes(c.file(digest), now, now)
	}
	recent := func(digest string) bool {
		info, err := os.Stat(c.file(digest))
		return err == nil && now.Sub(info.ModTime()) < unusedFor
	}
	_ = c.blobs.Prune(false, recent, &api.Pruned{})
	c.lock.Close()
}

func (c *Cache) file(digest string) string {
	return filepath.Join(c.dir, "sha256", strings.TrimPrefix(digest, "sha256:"))
}
