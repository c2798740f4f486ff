package kernel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fileid"
)

// Register is Import for a kernel whose files belong to an image that uses them in place. It also returns
// what it has read: the kernel first, then what is needed of its modules. The kernel gets no name.
func (c *Cache) Register(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, []fileid.File, error) {
	for _, path := range []*string{&req.Path, &req.Modules} {
		if *path == "" {
			continue
		}
		real, err := filepath.EvalSymlinks(filepath.Dir(*path))
		if err != nil {
			return api.Kernel{}, nil, readError(err)
		}
		*path = filepath.Join(real, filepath.Base(*path))
	}
	t := tracker{recorded: map[string]bool{}}
	if _, err := t.read(req.Path); err != nil { // before it is looked at for its modules
		return api.Kernel{}, nil, readError(err)
	}
	s, err := c.importSource(req)
	if err != nil {
		return api.Kernel{}, nil, err
	}
	if s.modules != "" && req.Modules == "" { // found by the kernel's release: /lib may be a link
		if s.modules, err = filepath.EvalSymlinks(s.modules); err != nil {
			return api.Kernel{}, nil, readError(err)
		}
	}
	t.files, t.recorded = nil, map[string]bool{}
	s.prove, s.unnamed, s.read = true, true, t.read
	k, err := c.add(ctx, s, report)
	return k, t.files, err
}

// tracker reads files and records what they were.
type tracker struct {
	files    []fileid.File
	recorded map[string]bool
}

// read is readFile, which follows no symbolic link.
func (t *tracker) read(path string) ([]byte, error) {
	f, err := fileid.Open(path)
	if api.KindOf(err) == api.KindNotFound {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist} // which files may be missing, the caller knows
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSize {
		return nil, fmt.Errorf("%s is not a regular file of at most %d MiB", path, maxSize>>20)
	}
	data, recorded, err := fileid.RecordData(path, f, func() ([]byte, error) { return readCapped(f) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !t.recorded[path] {
		t.recorded[path] = true
		t.files = append(t.files, recorded)
	}
	return data, nil
}
