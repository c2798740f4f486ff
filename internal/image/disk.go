package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/image/rootfs"
)

// Base returns the file that Disk has made, or an error of kind not found: disks of VMs
// store the changes to exactly that file, and a file made again is a different one.
func (c *Cache) Base(digest string, size int64) (string, error) {
	hex := strings.TrimPrefix(digest, "sha256:")
	if !isHex(hex) {
		return "", api.Errorf(api.KindInvalid, "%.80q is not a digest of an image", digest)
	}
	path := c.sized(hex, size)
	if m, err := c.meta(hex); err == nil && size == m.DiskBytes {
		path = c.path(hex, rootfsFile)
	}
	if _, err := os.Stat(path); err != nil {
		return "", api.Errorf(api.KindNotFound, "the file is missing: %w", err)
	}
	return path, nil
}

func (c *Cache) sized(hex string, size int64) string {
	return c.path(hex, diskPrefix+strconv.FormatInt(size, 10)+diskSuffix)
}

// Disk returns the image's raw file of exactly that size in bytes, which disks of VMs
// are made from. The file is made once.
func (c *Cache) Disk(ctx context.Context, digest string, size int64, report api.Report) (string, error) {
	hex := strings.TrimPrefix(digest, "sha256:")
	if !isHex(hex) {
		return "", api.Errorf(api.KindInvalid, "%.80q is not a digest of an image", digest)
	}
	m, err := c.meta(hex)
	if err != nil {
		return "", api.Errorf(api.KindNotFound, "no image with digest %.80s: %w", digest, err).WithHint("banger image list")
	}
	if !c.isComplete(hex) {
		again := "banger image pull NAME"
		if m.Reference != "" {
			again = "banger image pull " + m.Reference
		}
		return "", api.Errorf(api.KindNotFound, "the file of image %.19s is missing: %s", digest, c.path(hex, rootfsFile)).
			WithHint("%s, or import it again", again)
	}
	switch {
	case size == m.DiskBytes:
		return c.path(hex, rootfsFile), nil
	case size < m.DiskBytes:
		return "", api.Errorf(api.KindInvalid, "a disk of %d bytes is too small for the image", size).
			WithHint("use at least --disk %dMiB", m.DiskBytes/mib)
	case size%rootfs.BlockSize != 0:
		return "", api.Errorf(api.KindInvalid, "the size of a disk must be a multiple of %d bytes, not %d", rootfs.BlockSize, size)
	}
	path := c.sized(hex, size)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	err = c.flights.Do(ctx, path, report, func(ctx context.Context, report api.Report) error {
		return c.makeDisk(ctx, c.path(hex, rootfsFile), path, size, report)
	})
	return path, err
}

func (c *Cache) makeDisk(ctx context.Context, base, path string, size int64, report api.Report) error {
	if _, err := os.Stat(path); err == nil {
		return nil // another call has just made it
	}
	leave, err := c.waitForTurn(ctx, report)
	if err != nil {
		return err
	}
	defer leave()
	return c.stage(ctx, func(dir string) error {
		if err := fsx.NeedSpace(dir, fsx.Usage(base)+size/512); err != nil {
			return err
		}
		file := filepath.Join(dir, "disk")
		if err := grow(ctx, base, file, size, report); err != nil {
			if ctx.Err() != nil {
				return canceled(ctx)
			}
			return fsx.DiskError("make a disk in "+c.staging, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := os.Rename(file, path); err != nil {
			return fsx.DiskError("make a disk", err)
		}
		// Disks of VMs are made from it: it must be on disk before they are.
		if err := fsx.SyncDir(filepath.Dir(path)); err != nil {
			return fsx.DiskError("make a disk", errors.Join(err, os.Remove(path)))
		}
		return nil
	})
}

// grow copies base to file and enlarges it and its file system.
func grow(ctx context.Context, base, file string, size int64, report api.Report) error {
	if err := cloneFile(ctx, base, file, report); err != nil {
		return err
	}
	if err := os.Truncate(file, size); err != nil {
		return err
	}
	f, err := rootfs.OpenForSync(file)
	if err != nil {
		return err
	}
	defer f.Close()
	report(api.Progress{Step: "disk", Message: fmt.Sprintf("growing the file system to %d MiB", size/mib)})
	if err := execx.Run(ctx, execx.Cmd{Name: "resize2fs", Args: []string{"-f", file}, Package: "e2fsprogs"}); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
