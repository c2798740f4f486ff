package image

import (
	"context"
	"runtime"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/image/distro"
	"banger/internal/image/oci/registry"
	"banger/internal/image/tarball"
	"banger/internal/paths"
	"banger/internal/queue"
)

const mib = 1 << 20

// Cache holds the images of one installation, each in a directory named by the digest
// of its content. One process at a time may open it: the daemon.
type Cache struct {
	records *records
	maker   *maker
	sizes   *sizes
	builds  *builds
	inPlace *inPlace
	pulls   *pulls
}

// Open opens the cache below p.
func Open(p paths.Paths, a *apt.Apt) (*Cache, error) {
	r, err := openRecords(p.Images(), p.Staging(), &nameRules{host: distro.Host(), shortNames: noShortNames})
	if err != nil {
		return nil, err
	}
	w := &workspace{dir: p.Staging(), stage: r.Stage, turns: queue.New(runtime.NumCPU())}
	m := &maker{records: r, work: w, limits: tarball.DefaultLimits}
	own := &inPlace{records: r, own: []string{p.Data, p.Cache}}
	return &Cache{
		records: r, maker: m, inPlace: own,
		sizes:  &sizes{records: r, work: w, inPlace: own},
		builds: &builds{maker: m, apt: a},
		pulls:  openPulls(m, p.Blobs()),
	}, nil
}

// UseRegistries sets how registries are accessed. Both functions are called for each
// pull: file returns a file with additional authorities that sign certificates ("":
// only the system's), mirrors returns where images of a registry are searched first.
// Each may be nil.
func (c *Cache) UseRegistries(file func() (string, error), mirrors func() (map[string]string, error)) {
	c.pulls.use(file, mirrors)
}

// UseShortNames sets the short names of references: table returns them. It is called
// each time a name is looked up that no image in the cache has.
func (c *Cache) UseShortNames(table func() (map[string]string, error)) {
	c.records.names.shortNames = table
}

// Usage returns how many bytes the cache occupies.
func (c *Cache) Usage() int64 { return c.records.Usage() }

// List returns all images, oldest first.
func (c *Cache) List() ([]api.Image, error) { return c.records.list() }

// Get finds an image by name, digest or unique prefix of a digest.
func (c *Cache) Get(ref string) (api.Image, error) { return c.records.get(ref) }

// CheckName refuses a name that is not valid for an image.
func (c *Cache) CheckName(name string) error { return checkName(name) }

// checkName refuses a name that is not a reference: images have the names by which they
// are pulled, and no others.
func checkName(name string) error {
	_, err := registry.Parse(name)
	return err
}

// CanPull reports whether Pull can try to get an image of that name.
func (c *Cache) CanPull(name string) bool {
	_, err := registry.Parse(name)
	return err == nil || c.records.names.host.Builds(name)
}

// Pull gets an image: that of the host's own distribution, and the one for builds, are built from its
// packages, unless there is a current one; others come from registries.
func (c *Cache) Pull(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error) {
	meant, err := c.records.names.resolve(req.Name)
	if err != nil {
		return api.Image{}, err
	}
	if !c.records.names.host.Builds(meant) {
		return c.pulls.pull(ctx, meant, report)
	}
	return c.builds.pull(ctx, meant, req.Refresh, report)
}

// Disk returns the image's raw file of exactly that size in bytes, which disks of VMs
// are made from. The file is made once.
func (c *Cache) Disk(ctx context.Context, digest string, size int64, report api.Report) (string, error) {
	return c.sizes.disk(ctx, digest, size, report)
}

// Base returns the file that Disk has made, or an error of kind not found: disks of VMs
// store the changes to exactly that file, and a file made again is a different one. A
// registered file is checked; if it is not what it was, the error wraps a
// *fileid.ChangedError.
func (c *Cache) Base(ctx context.Context, digest string, size int64, report api.Report) (string, error) {
	return c.sizes.base(ctx, digest, size, report)
}
