// Package disk is the contract of disk drivers: how a VM gets a disk of its
// own from an image that it shares with others.
package disk

import "context"

// Format is how a disk file is laid out.
type Format string

// The formats a VMM is told of.
const (
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// Spec asks for one disk.
type Spec struct {
	// Base is the image's raw file of exactly the disk's size. It is never
	// written, and stays where it is while a disk made from it exists.
	Base string
	// Path is the file to make. Its directory exists; the file does not.
	Path string
}

// Driver makes copy-on-write disks.
//
// Create leaves nothing behind when it fails, refuses a Path that exists, and
// reports a full disk as api.KindNoSpace. The disk's content is the base's,
// and writing to it changes neither the base nor another disk. Create takes
// time in proportion to the base's metadata at most, except for the copying
// driver, which says so by its name. Remove is idempotent: absent is success.
type Driver interface {
	// Name is how the store and the user know the driver.
	Name() string
	// Probe says whether the driver works for files in dir and bases in
	// baseDir, with the reason where not. It leaves nothing behind.
	Probe(ctx context.Context, dir, baseDir string) error
	Create(ctx context.Context, spec Spec) error
	Remove(ctx context.Context, path string) error
	// Flatten writes what a guest that does not run any more sees of a disk that
	// Create made of spec, to a raw file of its own, with holes. It leaves nothing
	// behind when it fails, and refuses a file that exists.
	Flatten(ctx context.Context, spec Spec, to string) error
	// Grow makes a disk that Create made of spec size bytes long, if it is shorter, and
	// returns the base that it is attached with from then on. What is on it stays, and the
	// rest reads as zeros. It can be repeated, also after it was interrupted at any point.
	Grow(ctx context.Context, spec Spec, size int64) (base string, err error)
	// Format is that of the files Create makes.
	Format() Format
	// Layered tells whether these files hold only what was written, and so need the very
	// base that they were made of for as long as they exist.
	Layered() bool
}
