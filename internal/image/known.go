package image

import (
	"os"
	"slices"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// known is what was read of an image's directory once. Reading 1,000 of them takes a good
// part of a second; looking whether they have changed, some milliseconds.
type known struct {
	dir, meta stamp
	image     api.Image // without its names; nobody changes what it points to
	id        string    // meta.ID
}

// stamp tells whether a file or directory has changed, whoever has changed it: every change
// sets the ctime, which nobody can set back (inode(7)). All files of an image are renamed into
// its directory, which changes the directory; meta.json may be edited.
type stamp struct {
	inode uint64
	ctime syscall.Timespec
	size  int64
}

// settleTime is how old a change must be when what it made is read, for that to be kept: the
// ctime is as coarse as the kernel's tick, or on some file systems a second, and another
// change may follow within it.
const settleTime = 2 * time.Second

func stampOf(path string) (stamp, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return stamp{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, os.ErrInvalid
	}
	return stamp{inode: st.Ino, ctime: st.Ctim, size: st.Size}, nil
}

func (s stamp) settled(now time.Time) bool {
	return now.Sub(time.Unix(s.ctime.Unix())) > settleTime
}

// look returns what an image's directory says, and reads it if it has changed since it was
// read. The caller holds mu.
func (c *Cache) look(hex string) (known, error) {
	now := time.Now()
	dir, err := stampOf(c.path(hex))
	if err != nil {
		return known{}, err
	}
	record, err := stampOf(c.path(hex, metaFile))
	if err != nil {
		return known{}, err
	}
	if k, ok := c.known[hex]; ok && k.dir == dir && k.meta == record {
		return k, nil
	}
	delete(c.known, hex)
	m, err := c.meta(hex)
	if err != nil {
		return known{}, err
	}
	k := known{dir: dir, meta: record, id: m.ID, image: api.Image{
		Digest: "sha256:" + hex, Source: m.Source, Arch: m.Arch, DiskBytes: m.DiskBytes,
		CreatedAt: m.CreatedAt, SizeBytes: fsx.Usage(c.path(hex)),
		Config: m.Config, Reference: m.Reference, Manifest: m.Manifest, Layers: m.Layers,
	}}
	if dir.settled(now) && record.settled(now) {
		c.known[hex] = k
	}
	return k, nil
}

// load returns an image. The caller holds mu.
func (c *Cache) load(hex string) (api.Image, error) {
	k, err := c.look(hex)
	if err != nil {
		return api.Image{}, err
	}
	names := []string{}
	for name, digest := range c.names {
		if digest == hex {
			names = append(names, name)
		}
	}
	return k.named(names), nil
}

// named is the image with its names.
func (k known) named(names []string) api.Image {
	i := k.image
	i.Names = slices.Sorted(slices.Values(names))
	if i.Names == nil {
		i.Names = []string{}
	}
	return i
}

// namesOf are the names of all images, by their digest. The caller holds mu.
func (c *Cache) namesOf() map[string][]string {
	all := make(map[string][]string, len(c.names))
	for name, hex := range c.names {
		all[hex] = append(all[hex], name)
	}
	return all
}
