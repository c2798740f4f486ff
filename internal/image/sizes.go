package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/image/rootfs"
	"banger/internal/image/singleflight"
)

// sizes are the sized images: raw files that disks of VMs are made from. A file with the
// name of a size is complete, and on the disk. It never changes.
type sizes struct {
	records *records
	work    *workspace
	inPlace *inPlace
	flights singleflight.Group
}

func (s *sizes) base(ctx context.Context, digest string, size int64, report api.Report) (string, error) {
	hex := digeststore.Hex(digest)
	if !digeststore.IsHex(hex) {
		return "", api.Errorf(api.KindInvalid, "%.80q is not a digest of an image", digest)
	}
	path := s.path(hex, size)
	m, err := s.records.meta(hex)
	if err == nil && m.Registered {
		return s.inPlace.base(ctx, hex, size, report)
	}
	if err == nil && size == m.DiskBytes {
		path = s.records.Path(hex, rootfsFile)
	}
	if _, err := os.Stat(path); err != nil {
		return "", api.Errorf(api.KindNotFound, "the file is missing: %w", err)
	}
	return path, nil
}

// path returns the path of the file of a size, if it is not the image's own.
func (s *sizes) path(hex string, size int64) string {
	return s.records.Path(hex, diskPrefix+strconv.FormatInt(size, 10)+diskSuffix)
}

func (s *sizes) disk(ctx context.Context, digest string, size int64, report api.Report) (string, error) {
	hex := digeststore.Hex(digest)
	if !digeststore.IsHex(hex) {
		return "", api.Errorf(api.KindInvalid, "%.80q is not a digest of an image", digest)
	}
	m, err := s.records.meta(hex)
	if err != nil {
		return "", api.Errorf(api.KindNotFound, "no image with digest %.80s: %w", digest, err).WithHint("banger image list")
	}
	if m.Registered {
		return s.inPlace.base(ctx, hex, size, report)
	}
	if !s.records.isComplete(hex) {
		again := "banger image pull NAME"
		if m.Reference != "" {
			again = "banger image pull " + m.Reference
		}
		return "", api.Errorf(api.KindNotFound, "the file of image %.19s is missing: %s", digest, s.records.Path(hex, rootfsFile)).
			WithHint("%s, or import it again", again)
	}
	switch {
	case size == m.DiskBytes:
		return s.records.Path(hex, rootfsFile), nil
	case size < m.DiskBytes:
		return "", api.Errorf(api.KindInvalid, "a disk of %d bytes is too small for the image", size).
			WithHint("use at least --disk %dMiB", m.DiskBytes/mib)
	case size%rootfs.BlockSize != 0:
		return "", api.Errorf(api.KindInvalid, "the size of a disk must be a multiple of %d bytes, not %d", rootfs.BlockSize, size)
	}
	path := s.path(hex, size)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	err = s.flights.Do(ctx, path, report, func(ctx context.Context, report api.Report) error {
		return s.make(ctx, s.records.Path(hex, rootfsFile), path, size, report)
	})
	return path, err
}

func (s *sizes) make(ctx context.Context, base, path string, size int64, report api.Report) error {
	if _, err := os.Stat(path); err == nil {
		return nil // another call has just made it
	}
	leave, err := s.work.waitForTurn(ctx, report)
	if err != nil {
		return err
	}
	defer leave()
	return s.work.within(ctx, func(dir string) error {
		if err := fsx.NeedSpace(dir, fsx.Usage(base)+size/512); err != nil {
			return err
		}
		file := filepath.Join(dir, "disk")
		if err := grow(ctx, base, file, size, report); err != nil {
			if ctx.Err() != nil {
				return canceled(ctx)
			}
			return fsx.DiskError("make a disk in "+s.work.dir, err)
		}
		l := s.records.Lock()
		defer l.Unlock()
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

// prune removes the disks of an image that have none of the used sizes, unless it is a
// dry run. The caller has locked the records.
func (s *sizes) prune(i entry, used []int64, dry bool, pruned *api.Pruned) error {
	entries, err := os.ReadDir(s.records.Path(i.Hex))
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read image %s: %w", i.Digest(), err)
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), diskSuffix), diskPrefix)
		size, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || slices.Contains(used, size) {
			continue
		}
		path := s.records.Path(i.Hex, e.Name())
		bytes := fsx.Usage(path)
		if !dry {
			if err := os.Remove(path); err != nil {
				return api.Errorf(api.KindInternal, "cannot remove a disk: %w", err)
			}
		}
		pruned.Add(i.Digest()[:19]+" "+e.Name(), bytes)
	}
	return nil
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
