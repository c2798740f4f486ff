package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/fsx"
	"banger/internal/idref"
	"banger/internal/image/distro"
	blobstore "banger/internal/image/oci/blobs"
	"banger/internal/image/oci/registry"
	"banger/internal/image/rootfs"
	"banger/internal/image/singleflight"
	"banger/internal/image/tarball"
	"banger/internal/paths"
	"banger/internal/queue"
)

const mib = 1 << 20

// Cache holds the images of one installation, each in a directory named by the digest
// of its content. One process at a time may open it: the daemon.
type Cache struct {
	dir        string
	staging    string
	apt        *apt.Apt
	flights    singleflight.Group
	pulls      singleflight.Group // from registries; each ends in one of flights
	host       distro.Release
	limits     tarball.Limits
	works      *queue.Queue     // bounds how many images and disks are made in parallel
	blobs      *blobstore.Store // downloaded blobs
	registries *registry.Client
	shortNames func() (map[string]string, error)

	mu    sync.Mutex // guards names, known, names.json and what is in dir
	names map[string]string
	known map[string]known // by digest: images whose directory was read
}

// The files in an image's directory, besides disk-BYTES.ext4.
const (
	rootfsFile = "rootfs.ext4"
	metaFile   = "meta.json"
	diskPrefix = "disk-"
	diskSuffix = ".ext4"
)

// meta is the record in an image's directory.
type meta struct {
	Source    string    `json:"source"`
	Arch      string    `json:"arch"`
	DiskBytes int64     `json:"min_disk_bytes"`
	Recipe    string    `json:"recipe,omitempty"` // digest of its sources, see recipe.go
	CreatedAt time.Time `json:"created_at"`

	// The metadata of an image of layers. ID is the digest of its configuration, which
	// names all its layers.
	ID        string             `json:"id,omitempty"`
	Config    *api.ImageConfig   `json:"config,omitempty"`
	RawConfig json.RawMessage    `json:"raw_config,omitempty"` // the source of Config
	Reference string             `json:"reference,omitempty"`
	Manifest  string             `json:"manifest,omitempty"`
	Layers    []api.ImageLayer   `json:"layers,omitempty"`
	History   []api.ImageHistory `json:"history,omitempty"`
}

// Open opens the cache below p.
func Open(p paths.Paths, a *apt.Apt) (*Cache, error) {
	c := &Cache{dir: p.Images(), staging: p.Staging(), apt: a, host: distro.Host(), limits: tarball.DefaultLimits, works: queue.New(runtime.NumCPU()), names: map[string]string{}, known: map[string]known{}}
	c.openRegistries(p)
	for _, dir := range []string{c.dir, c.staging} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fsx.DiskError("make directory", err)
		}
	}
	if err := fsx.RemoveTemporary(c.namesFile()); err != nil {
		return nil, fsx.DiskError("remove the leftovers of a crash", err)
	}
	data, err := os.ReadFile(c.namesFile())
	if err == nil {
		err = json.Unmarshal(data, &c.names)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot read the names of the images: %w", err).
			WithHint("remove %s: the images stay, their names are lost", c.namesFile())
	}
	return c, nil
}

func (c *Cache) namesFile() string { return filepath.Join(c.dir, "names.json") }

func (c *Cache) path(hex string, elem ...string) string {
	return filepath.Join(append([]string{c.dir, hex}, elem...)...)
}

// Usage returns how many bytes the cache occupies.
func (c *Cache) Usage() int64 { return fsx.Usage(c.dir) }

// List returns all images, oldest first.
func (c *Cache) List() ([]api.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list()
}

func (c *Cache) list() ([]api.Image, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot list images: %w", err)
	}
	images, names := []api.Image{}, c.namesOf()
	for _, e := range entries {
		if !e.IsDir() || !isHex(e.Name()) {
			continue
		}
		// A directory without a readable meta.json was damaged by hand: it is not an image.
		if k, err := c.look(e.Name()); err == nil {
			images = append(images, k.named(names[e.Name()]))
		}
	}
	if len(c.known) > len(images) { // some are gone
		there := map[string]bool{}
		for _, i := range images {
			there[strings.TrimPrefix(i.Digest, "sha256:")] = true
		}
		maps.DeleteFunc(c.known, func(hex string, _ known) bool { return !there[hex] })
	}
	slices.SortFunc(images, func(a, b api.Image) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Digest, b.Digest))
	})
	return images, nil
}

func (c *Cache) meta(hex string) (meta, error) {
	var m meta
	data, err := os.ReadFile(c.path(hex, metaFile))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	return m, err
}

// isComplete reports whether an image's directory has its record and its file. If the
// file was removed by hand, the image is made again when it is needed.
func (c *Cache) isComplete(hex string) bool {
	_, err := c.meta(hex)
	if err == nil {
		_, err = os.Stat(c.path(hex, rootfsFile))
	}
	return err == nil
}

func isHex(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// Get finds an image by name, digest or unique prefix of a digest.
func (c *Cache) Get(ref string) (api.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(ref)
}

func (c *Cache) get(ref string) (api.Image, error) {
	name, there, err := c.cacheName(ref)
	if err != nil {
		return api.Image{}, err
	}
	if there {
		if i, err := c.load(c.names[name]); err == nil {
			return i, nil
		}
	}
	if hex := strings.TrimPrefix(ref, "sha256:"); isHex(hex) { // a whole digest: no other begins so
		if i, err := c.load(hex); err == nil {
			return i, nil
		}
	}
	images, err := c.list()
	if err != nil {
		return api.Image{}, err
	}
	at, err := idref.Find("images", ref, digests(images), func(i int) string { return idref.Label(images[i].Digest, images[i].Names...) })
	switch {
	case err != nil:
		return api.Image{}, api.AsError(err).WithHint("banger image list")
	case at < 0:
		return api.Image{}, api.Errorf(api.KindNotFound, "no image named %.80q", ref).WithHint("banger image list")
	}
	return images[at], nil
}

func digests(images []api.Image) []string {
	all := make([]string, len(images))
	for i := range images {
		all[i] = images[i].Digest
	}
	return all
}

// named returns the image with exactly that name, if there is one.
func (c *Cache) named(name string) (api.Image, meta, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hex, ok := c.names[name]
	if !ok {
		return api.Image{}, meta{}, false
	}
	m, err := c.meta(hex)
	if err != nil {
		return api.Image{}, meta{}, false
	}
	i, err := c.load(hex)
	return i, m, err == nil
}

func (c *Cache) saveNames() error {
	if err := fsx.WriteJSON(c.namesFile(), c.names); err != nil {
		return fsx.DiskError("write the names of the images", err)
	}
	return nil
}

// waitForTurn returns when the caller may make an image or a disk, which takes a
// processor and disk space; leave ends the caller's turn. A caller that holds a turn
// must not wait for other work of the cache.
func (c *Cache) waitForTurn(ctx context.Context, report api.Report) (leave func(), err error) {
	leave, err = c.works.Enter(ctx, time.Now(), func(ahead int) {
		text := "waiting: other images are being made"
		if ahead > 0 {
			text += fmt.Sprintf(", %d more are queued before", ahead)
		}
		report(api.Progress{Step: "image", Message: text})
	})
	if err != nil {
		return nil, canceled(ctx)
	}
	return leave, nil
}

// stage calls work with a temporary directory, and removes the directory afterwards.
func (c *Cache) stage(ctx context.Context, work func(dir string) error) error {
	if err := os.MkdirAll(c.staging, 0o700); err != nil {
		return fsx.DiskError("make directory", err)
	}
	dir, err := os.MkdirTemp(c.staging, "image-*")
	if err != nil {
		return fsx.DiskError("make directory", err)
	}
	err = work(dir)
	// The clean-up ignores that ctx has ended, but is bounded.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	if cleanErr := rootfs.Remove(ctx, dir); cleanErr != nil && err == nil {
		return api.Errorf(api.KindOf(cleanErr), "cannot remove %s: %w", dir, cleanErr)
	}
	return err
}
