package image

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/fsx"
	"banger/internal/image/rootfs"
	"banger/internal/image/singleflight"
	"banger/internal/image/tarball"
)

// maker makes images, whatever they come from: each is complete before the cache has it.
type maker struct {
	records *records
	work    *workspace
	limits  tarball.Limits
	flights singleflight.Group // of images of layers
}

// fromTree makes an image from a tree that fill creates in a directory, and names it. fill
// may still change about.
func (m *maker) fromTree(ctx context.Context, names []string, about *meta, report api.Report, fill func(root string) error) (api.Image, error) {
	leave, err := m.work.waitForTurn(ctx, report)
	if err != nil {
		return api.Image{}, err
	}
	defer leave()
	return m.work.make(ctx, func(dir string) (api.Image, error) {
		root, out := filepath.Join(dir, "root"), filepath.Join(dir, "image")
		for _, d := range []string{root, out} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return api.Image{}, fsx.DiskError("make directory", err)
			}
		}
		if err := os.Chmod(root, 0o755); err != nil { // the guest's / must not depend on the umask
			return api.Image{}, fsx.DiskError("make directory", err)
		}
		// As for each directory whose times no entry sets (rootfs/hosttree.go).
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
		about.DiskBytes = size
		return m.seal(ctx, out, names, about, report)
	})
}

// fromFile makes an image from an ext4 file that put writes to its place.
func (m *maker) fromFile(ctx context.Context, names []string, about *meta, report api.Report, put func(to string) error) (api.Image, error) {
	leave, err := m.work.waitForTurn(ctx, report)
	if err != nil {
		return api.Image{}, err
	}
	defer leave()
	return m.work.make(ctx, func(dir string) (api.Image, error) {
		out := filepath.Join(dir, "image")
		if err := os.Mkdir(out, 0o700); err != nil {
			return api.Image{}, fsx.DiskError("make directory", err)
		}
		file := filepath.Join(out, rootfsFile)
		if err := put(file); err != nil {
			return api.Image{}, fsx.DiskError("copy the file system", err)
		}
		size, err := prepareFile(ctx, file, report)
		if err != nil {
			return api.Image{}, err
		}
		about.DiskBytes = size
		return m.seal(ctx, out, names, about, report)
	})
}

// seal makes an image of the directory out, which contains its file, and names it.
func (m *maker) seal(ctx context.Context, out string, names []string, about *meta, report api.Report) (api.Image, error) {
	hex, err := about.hex, error(nil)
	if hex == "" {
		hex, err = hashFile(ctx, filepath.Join(out, rootfsFile), report)
	}
	if err != nil {
		return api.Image{}, fsx.DiskError("read image", err)
	}
	if about.Kernel != "" { // the same files with another kernel are another image
		hex = fmt.Sprintf("%x", sha256.Sum256([]byte(hex+" kernel "+about.Kernel)))
	}
	if about.ID != "" { // the same files with a different configuration are a different image
		hex = fmt.Sprintf("%x", sha256.Sum256([]byte(hex+" "+about.ID)))
	}
	about.Arch, about.CreatedAt = runtime.GOARCH, time.Now().UTC()
	if err := fsx.WriteJSON(filepath.Join(out, digeststore.MetaFile), about); err != nil {
		return api.Image{}, fsx.DiskError("write image", err)
	}
	return m.commit(out, hex, names)
}

// commit moves a finished directory to its place and names it. If that fails, it moves
// the directory back.
func (m *maker) commit(dir, hex string, names []string) (api.Image, error) {
	l := m.records.Lock()
	defer l.Unlock()
	if m.records.isComplete(hex) {
		return withNames(l.Name(hex, names...))
	}
	return withNames(l.Commit(dir, hex, names...))
}
