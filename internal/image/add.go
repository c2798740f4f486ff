package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/image/rootfs"
)

// add makes an image from a tree that fill creates in a directory, and names it. fill
// may still change m.
func (c *Cache) add(ctx context.Context, names []string, m *meta, report api.Report, fill func(root string) error) (api.Image, error) {
	leave, err := c.waitForTurn(ctx, report)
	if err != nil {
		return api.Image{}, err
	}
	defer leave()
	return c.staged(ctx, func(dir string) (api.Image, error) {
		root, out := filepath.Join(dir, "root"), filepath.Join(dir, "image")
		for _, d := range []string{root, out} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return api.Image{}, fsx.DiskError("make directory", err)
			}
		}
		if err := os.Chmod(root, 0o755); err != nil { // the guest's / must not depend on the umask
			return api.Image{}, fsx.DiskError("make directory", err)
		}
		// As for each directory whose times no entry sets (hosttree.go).
		if err := os.Chtimes(root, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
			return api.Image{}, fsx.DiskError("make directory", err)
		}
		if err := fill(root); err != nil {
			return api.Image{}, err
		}
		size, err := rootfs.Pack(ctx, root, filepath.Join(out, rootfsFile), true, report)
		if err != nil {
			return api.Image{}, err
		}
		m.DiskBytes = size
		return c.seal(ctx, out, names, m, report)
	})
}

// staged makes an image in a temporary directory.
func (c *Cache) staged(ctx context.Context, work func(dir string) (api.Image, error)) (api.Image, error) {
	var made api.Image
	err := c.stage(ctx, func(dir string) (err error) {
		made, err = work(dir)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return made, canceled(ctx)
	case api.KindOf(err) == api.KindNoSpace: // within a job, names are relative to the tree
		return made, api.Errorf(api.KindNoSpace, "no room in %s: %w", c.staging, err)
	}
	return made, err
}

// seal makes an image of the directory out, which contains its file, and names it.
func (c *Cache) seal(ctx context.Context, out string, names []string, m *meta, report api.Report) (api.Image, error) {
	hex, err := hashFile(ctx, filepath.Join(out, rootfsFile), report)
	if err != nil {
		return api.Image{}, fsx.DiskError("read image", err)
	}
	if m.ID != "" { // the same files with a different configuration are a different image
		hex = fmt.Sprintf("%x", sha256.Sum256([]byte(hex+" "+m.ID)))
	}
	m.Arch, m.CreatedAt = runtime.GOARCH, time.Now().UTC()
	if err := fsx.WriteJSON(filepath.Join(out, metaFile), m); err != nil {
		return api.Image{}, fsx.DiskError("write image", err)
	}
	return c.commit(out, hex, names)
}

// commit moves a finished directory to its place and names it. If that fails, it moves
// the directory back.
func (c *Cache) commit(dir, hex string, names []string) (api.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isComplete(hex) {
		return c.name(hex, names)
	}
	// The place holds no valid image: it is damaged, or absent.
	if err := os.RemoveAll(c.path(hex)); err != nil {
		return api.Image{}, fsx.DiskError("replace a damaged image", err)
	}
	if err := os.Rename(dir, c.path(hex)); err != nil {
		return api.Image{}, fsx.DiskError("store image", err)
	}
	var made api.Image
	err := fsx.DiskError("store image", fsx.SyncDir(c.dir))
	if err == nil {
		made, err = c.name(hex, names)
	}
	if err != nil {
		err = errors.Join(err, os.Rename(c.path(hex), dir))
	}
	return made, err
}

// name gives names to an image; other images may lose them. It writes nothing if the
// image has them already. The caller holds mu.
func (c *Cache) name(hex string, names []string) (api.Image, error) {
	if !slices.ContainsFunc(names, func(name string) bool { return c.names[name] != hex }) {
		return c.load(hex)
	}
	before := maps.Clone(c.names)
	for _, name := range names {
		c.names[name] = hex
	}
	if err := c.saveNames(); err != nil {
		c.names = before
		return api.Image{}, err
	}
	return c.load(hex)
}
