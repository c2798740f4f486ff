// Package disk is the contract of disk drivers, which make a VM's own disk from an image
// that VMs share.
package disk

import "context"

// Format is how a disk file is laid out.
type Format string

// The formats that VMMs know.
const (
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// Spec describes the disk to make.
type Spec struct {
	// Base is the image's raw file of exactly the disk's size. It is never
	// written, and stays where it is while a disk made from it exists.
	Base string
	// Path is the file to create. Its directory exists; the file does not.
	Path string
}

// Driver makes copy-on-write disks.
//
// Create leaves nothing behind when it fails, refuses a Path that exists, and
// reports a full disk as api.KindNoSpace. The disk's content is the base's,
// and writing to it changes neither the base nor another disk. Create takes
// time in proportion to the base's metadata at most, except for the driver "copy". Remove
// is idempotent: it succeeds if the disk is absent.
type Driver interface {
	// Name is the driver's name for the store and the user.
	Name() string
	// Probe returns nil if the driver works for files in dir and bases in baseDir,
	// otherwise the reason. It leaves nothing behind.
	Probe(ctx context.Context, dir, baseDir string) error
	Create(ctx context.Context, spec Spec) error
	Remove(ctx context.Context, path string) error
	// Flatten writes the content of a disk that Create made from spec, as its guest sees it,
	// to a new raw file with holes. The guest must not be running. Flatten leaves nothing
	// behind if it fails, and refuses a file that exists.
	Flatten(ctx context.Context, spec Spec, to string) error
	// Grow makes a disk that Create made of spec size bytes long, if it is shorter, and
	// returns the base that it is attached with from then on. What is on it stays, and the
	// rest reads as zeros. It can be repeated, also after it was interrupted at any point.
	Grow(ctx context.Context, spec Spec, size int64) (base string, err error)
	// Format is the format of the files that Create makes.
	Format() Format
	// Layered reports whether these files hold only written blocks, and so need the base
	// that they were made from as long as they exist.
	Layered() bool
}

// Cloner is a driver whose disk is one file, which can be copied while nobody writes it. The copy needs the same
// base.
type Cloner interface {
	// Clone copies the disk's file to a new one, which shares its blocks where the file system can do that. It leaves
	// nothing behind if it fails, and refuses a file that exists.
	Clone(ctx context.Context, path, to string) error
}
