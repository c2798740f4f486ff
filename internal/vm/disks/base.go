package disks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/host/fileid"
	"banger/internal/host/fsx"
	"banger/internal/vm/records"
)

// baseBytes is how many bytes of a base are read: the superblock, which has the time of each
// change of the file system, and the group descriptors of some TiB
// (ext4(5); kernel.org/doc/html/latest/filesystems/ext4/globals.html).
const baseBytes = 1 << 20

// baseDigest identifies a base, also among several made from the same image: file systems that were
// grown at different times, or by different programs, differ.
func baseDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot read the file of an image: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(h, f, baseBytes); err != nil && !errors.Is(err, io.EOF) {
		return "", api.Errorf(api.KindInternal, "cannot read the file of an image: %w", err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// lostBase is the digest of a base that was missing before its digest was recorded: no file has it.
const lostBase = "missing"

// baseOf returns the file to which a VM's disk holds the changes, which must be the one that the disk
// was made from. It returns "" for a disk that holds everything. A base is never made again for an
// existing disk: the disk would then hold changes to something else.
func (s *Disks) baseOf(ctx context.Context, v api.VM, d disk.Driver, report api.Report) (string, error) {
	if !d.Layered() {
		return "", nil
	}
	path, err := s.Images.Base(ctx, v.ImageDigest, v.DiskBytes, report)
	if err != nil {
		return "", lost(v, err)
	}
	digest, err := baseDigest(path)
	if err != nil {
		return "", err
	}
	if v.BaseDigest != "" && v.BaseDigest != digest {
		return "", lost(v, fmt.Errorf("%s was made again after the disk was made: it is another file system", path))
	}
	return path, nil
}

func lost(v api.VM, why error) error {
	var changed *fileid.ChangedError
	switch {
	case api.KindOf(why) == api.KindCanceled:
		return why
	case errors.As(why, &changed):
		return api.Errorf(api.KindConflict, "cannot use the disk of VM %s, which holds only the changes to a registered file: %w", v.Name, changed).
			WithHint("restore %s as it was, or: banger vm delete %s", changed.Path, v.Name)
	}
	return api.Errorf(api.KindOf(why), "cannot use the disk of VM %s: it holds only the changes to a file made from image %s, and its content is lost without that file: %w", v.Name, v.Image, why).
		WithHint("restore that file from a backup, or: banger vm delete %s", v.Name)
}

// findBase is baseOf, and records the base of a disk that an older version made.
func (s *Disks) findBase(ctx context.Context, e *records.Entry, report api.Report) (string, error) {
	v := e.Record()
	d, err := s.Driver(v.DiskDriver)
	if err != nil {
		return "", err
	}
	path, err := s.baseOf(ctx, v, d, report)
	if err != nil || path == "" || v.BaseDigest != "" {
		return path, err
	}
	digest, err := baseDigest(path)
	if err != nil {
		return "", err
	}
	return path, e.Update(ctx, func(v *api.VM) { v.BaseDigest = digest })
}

// giveUpBase has disks that older versions made miss their base for good, before the base
// of v, a new VM, is made in its place.
func (s *Disks) giveUpBase(ctx context.Context, v api.VM, report api.Report) error {
	if _, err := s.Images.Base(ctx, v.ImageDigest, v.DiskBytes, report); err == nil || api.KindOf(err) != api.KindNotFound {
		return nil // making the disk says what is wrong with it
	}
	for _, found := range s.table.Snapshots() {
		other := found.Entry.Record()
		d, err := s.Driver(other.DiskDriver)
		if err != nil || !d.Layered() || other.BaseDigest != "" || other.ImageDigest != v.ImageDigest || other.DiskBytes != v.DiskBytes {
			continue
		}
		if err := found.Entry.Update(ctx, func(v *api.VM) { v.BaseDigest = lostBase }); err != nil {
			return err
		}
	}
	return nil
}

// baseTime bounds a look at a base: a registered file that has changed would be read whole.
const baseTime = 100 * time.Millisecond

// Base returns the file to which a VM's disk holds the changes, or nil if there is none, if it is
// missing, or if that is not known soon.
func (s *Disks) Base(v api.VM) *api.DiskBase {
	d, err := s.Driver(v.DiskDriver)
	if err != nil || !d.Layered() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), baseTime)
	defer cancel()
	path, err := s.Images.Base(ctx, v.ImageDigest, v.DiskBytes, func(api.Progress) {})
	if err != nil {
		return nil
	}
	return &api.DiskBase{Image: v.Image, Digest: v.ImageDigest, Bytes: fsx.Usage(path)}
}
