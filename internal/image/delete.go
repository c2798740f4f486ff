package image

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
)

// Delete removes a name, and the image with its last name; a digest removes all names.
// An image in use stays, and so do its names. inUse returns the names of the VMs that use
// an image; it is called while no other call can get an image.
func (c *Cache) Delete(ref string, inUse func(digest string) []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.get(ref)
	if err != nil {
		return err
	}
	drop := i.Names
	name, there, err := c.cacheName(ref)
	if err != nil {
		return err
	}
	if there {
		drop = []string{name}
	}
	last := len(drop) == len(i.Names)
	if users := inUse(i.Digest); last && len(users) > 0 {
		return api.Errorf(api.KindConflict, "cannot delete image %.80s: it is used by %s", ref, strings.Join(users, ", ")).
			WithHint("banger vm delete %s", strings.Join(users, " "))
	}
	for _, name := range drop {
		delete(c.names, name)
	}
	if err := c.saveNames(); err != nil {
		for _, name := range drop {
			c.names[name] = strings.TrimPrefix(i.Digest, "sha256:")
		}
		return err
	}
	if last {
		return c.remove(i.Digest)
	}
	return nil
}

// remove removes an image's directory. It renames the directory first, so that a
// half-removed image is never mistaken for an image.
func (c *Cache) remove(digest string) error {
	hex := strings.TrimPrefix(digest, "sha256:")
	trash := filepath.Join(c.staging, "deleted-"+hex)
	if err := errors.Join(os.RemoveAll(trash), os.Rename(c.path(hex), trash), os.RemoveAll(trash)); err != nil {
		return api.Errorf(api.KindInternal, "cannot delete image %s: %w", digest, err)
	}
	return nil
}

// Prune removes the images that have no name and are not used by a VM, the disks that
// are not used by a VM, and the layers that no image was made of. inUse is that of
// Delete. disksInUse returns the sizes of an image's disks that VMs are made from; if known
// is false, the disks of some VMs are unknown, and none of the image is removed.
func (c *Cache) Prune(inUse func(digest string) []string, disksInUse func(digest string) (sizes []int64, known bool)) (api.Pruned, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pruned := api.Pruned{Removed: []string{}}
	images, err := c.list()
	if err != nil {
		return pruned, err
	}
	for _, i := range images {
		if len(i.Names) == 0 && len(inUse(i.Digest)) == 0 {
			if err := c.remove(i.Digest); err != nil {
				return pruned, err
			}
			pruned.Removed = append(pruned.Removed, i.Digest)
			pruned.ReclaimedBytes += i.SizeBytes
			continue
		}
		sizes, known := disksInUse(i.Digest)
		if !known {
			continue
		}
		if err := c.pruneDisks(i, sizes, &pruned); err != nil {
			return pruned, err
		}
	}
	return pruned, c.pruneBlobs(&pruned)
}

func (c *Cache) pruneDisks(i api.Image, used []int64, pruned *api.Pruned) error {
	hex := strings.TrimPrefix(i.Digest, "sha256:")
	entries, err := os.ReadDir(c.path(hex))
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read image %s: %w", i.Digest, err)
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), diskSuffix), diskPrefix)
		size, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || slices.Contains(used, size) {
			continue
		}
		path := c.path(hex, e.Name())
		bytes := fsx.Usage(path)
		if err := os.Remove(path); err != nil {
			return api.Errorf(api.KindInternal, "cannot remove a disk: %w", err)
		}
		pruned.Removed = append(pruned.Removed, i.Digest[:19]+" "+e.Name())
		pruned.ReclaimedBytes += bytes
	}
	return nil
}
