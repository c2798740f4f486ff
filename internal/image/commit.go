package image

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/execx"
	"banger/internal/image/ext4"
	"banger/internal/image/oci"
	"banger/internal/image/rootfs"
)

// Commit makes an image from the disk of the VM named from, which put writes to a file.
// It takes configuration, kernel and history from the image with the digest base, which
// the disk was made from.
func (c *Cache) Commit(ctx context.Context, name, base, from string, report api.Report, put func(ctx context.Context, to string) error) (api.Image, error) {
	if err := checkName(name); err != nil {
		return api.Image{}, err
	}
	parent, err := c.records.meta(digeststore.Hex(base))
	if err != nil {
		return api.Image{}, api.Errorf(api.KindInternal, "cannot read the record of image %.80s: %w", base, err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	m := &meta{Source: "VM " + from, Config: parent.Config, RawConfig: parent.RawConfig, Kernel: parent.Kernel}
	m.History = append(parent.history(), api.ImageHistory{CreatedAt: &now, CreatedBy: "banger vm commit " + from})
	if m.Config != nil {
		config, err := json.Marshal(m.Config)
		if err != nil {
			return api.Image{}, api.Errorf(api.KindInternal, "cannot write the image's configuration: %w", err)
		}
		m.ID = oci.Digest(config)
	}
	return c.maker.fromFile(ctx, []string{c.records.names.host.Canonical(name)}, m, report, func(to string) error {
		if err := put(ctx, to); err != nil {
			return err
		}
		return shrink(ctx, to, report)
	})
}

// shrink makes a disk's file system as small as its content allows, so that it fits
// disks of other sizes, and hashing it takes less time.
func shrink(ctx context.Context, file string, report api.Report) error {
	report(api.Progress{Step: "image", Message: "checking and shrinking the file system"})
	f, err := rootfs.OpenForSync(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := repair(ctx, file); err != nil {
		return err
	}
	if err := execx.Run(ctx, execx.Cmd{Name: "resize2fs", Args: []string{"-M", file}, Package: "e2fsprogs"}); err != nil {
		return err
	}
	s, err := ext4.ReadSuper(f)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(s.Bytes), f.Sync())
}
