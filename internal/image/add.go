package image

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"banger/api"
	"banger/internal/fsx"
	"banger/internal/userns"
)

// add makes an image of a tree that fill makes in a directory, and names it.
func (c *Cache) add(ctx context.Context, name string, m meta, report api.Report, fill func(root string) error) (api.Image, error) {
	var made api.Image
	err := c.stage(ctx, func(dir string) error {
		root, out := filepath.Join(dir, "root"), filepath.Join(dir, "image")
		for _, d := range []string{root, out} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return fsx.DiskError("make directory", err)
			}
		}
		if err := os.Chmod(root, 0o755); err != nil { // the guest's / must not depend on our umask
			return fsx.DiskError("make directory", err)
		}
		if err := fill(root); err != nil {
			return err
		}
		hex, err := pack(ctx, root, out, m, report)
		if err != nil {
			return err
		}
		made, err = c.commit(out, hex, name)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return made, canceled(ctx)
	case api.KindOf(err) == api.KindNoSpace: // within a job, names are those of the tree
		return made, api.Errorf(api.KindNoSpace, "no room in %s: %w", c.staging, err)
	}
	return made, err
}

// pack makes the image's directory out of the tree at root.
func pack(ctx context.Context, root, out string, m meta, report api.Report) (string, error) {
	file := filepath.Join(out, rootfsFile)
	if err := makeFile(file); err != nil {
		return "", err
	}
	told, err := job(ctx, report, userns.Call{Job: jobPack, Args: []string{root, file}})
	if err != nil {
		return "", err
	}
	hex, err := hashFile(ctx, file, report)
	if err != nil {
		return "", fsx.DiskError("read image", err)
	}
	m.Arch, m.DiskBytes, m.CreatedAt = runtime.GOARCH, told.DiskBytes, time.Now().UTC().Truncate(time.Second)
	if err := fsx.WriteJSON(filepath.Join(out, metaFile), m); err != nil {
		return "", fsx.DiskError("write image", err)
	}
	return hex, nil
}

// commit moves a finished directory to its place and gives it its name.
func (c *Cache) commit(dir, hex, name string) (api.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.meta(hex); err != nil {
		// What is there is no image: damaged by hand, or absent.
		if err := os.RemoveAll(c.path(hex)); err != nil {
			return api.Image{}, fsx.DiskError("replace a damaged image", err)
		}
		if err := os.Rename(dir, c.path(hex)); err != nil {
			return api.Image{}, fsx.DiskError("store image", err)
		}
		if err := fsx.SyncDir(c.dir); err != nil {
			return api.Image{}, fsx.DiskError("store image", err)
		}
	}
	old, had := c.names[name]
	c.names[name] = hex
	if err := c.saveNames(); err != nil {
		delete(c.names, name)
		if had {
			c.names[name] = old
		}
		return api.Image{}, err
	}
	return c.load(hex)
}
