package qemu

import (
	"context"

	"banger/internal/driver/vmproc"
)

// machine is a running QEMU.
type machine struct {
	*vmproc.Machine
	driver *Driver
}

// Pause implements driver.Pauser.
func (m machine) Pause(ctx context.Context) error { return m.monitor().Pause(ctx) }

// Resume implements driver.Pauser.
func (m machine) Resume(ctx context.Context) error { return m.monitor().Resume(ctx) }

// Stalled implements driver.Staller: QEMU stops a guest if the host has no space for its disk
// (werror=enospc, the default of -drive and -blockdev's devices; RunState of its QMP reference).
func (m machine) Stalled(ctx context.Context) (bool, error) {
	status, err := m.monitor().status(ctx)
	return status == "io-error", err
}

// Standing implements driver.Stander.
func (m machine) Standing(ctx context.Context) (string, error) { return m.monitor().Standing(ctx) }

// GrowDisk implements driver.Grower. QEMU tells the guest, by an interrupt.
func (m machine) GrowDisk(ctx context.Context, bytes int64) error {
	return m.monitor().grow(ctx, bytes)
}

func (m machine) monitor() Monitor { return monitorIn(m.Dir()) }
