package roothelper

import (
	"context"
	"os"

	"banger/internal/host/blockdev"
	"banger/internal/host/systemd"
)

// KernelBlocks is the host's kernel, as Blocks.
type KernelBlocks struct{}

// AttachSnapshot implements Blocks.
func (KernelBlocks) AttachSnapshot(ctx context.Context, id string, base, cow *os.File) (blockdev.Device, error) {
	return blockdev.AttachSnapshot(ctx, id, base, cow)
}

// AttachPlain implements Blocks.
func (KernelBlocks) AttachPlain(ctx context.Context, id string, file *os.File) (blockdev.Device, error) {
	return blockdev.AttachPlain(ctx, id, file)
}

// Lookup implements Blocks.
func (KernelBlocks) Lookup(id string) (blockdev.Device, bool, error) { return blockdev.Lookup(id) }

// Detach implements Blocks.
func (KernelBlocks) Detach(ctx context.Context, id string) error { return blockdev.Detach(ctx, id) }

// Status implements Blocks.
func (KernelBlocks) Status(id string) (blockdev.Usage, error) { return blockdev.Status(id) }

// List implements Blocks.
func (KernelBlocks) List() ([]blockdev.Object, error) { return blockdev.List() }

// Available implements Blocks.
func (KernelBlocks) Available() error { return blockdev.Available() }

var (
	_ Blocks = KernelBlocks{}
	_ Units  = (*systemd.Bus)(nil)
)
