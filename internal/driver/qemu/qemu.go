// Package qemu is the VMM driver for QEMU's microvm machine. It uses KVM if a guest boots on it,
// and software emulation otherwise.
package qemu

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/vmproc"
	"banger/internal/host/execx"
	"banger/internal/host/tsc"
	"banger/internal/paths"
)

// The accelerators.
const (
	KVM = "kvm"
	TCG = "tcg"
)

const (
	binary        = "qemu-system-x86_64"
	debianPackage = "qemu-system-x86"
)

// Options change what the driver does by default.
type Options struct {
	Accel  string // kvm or tcg; empty: by probe
	Binary string // of QEMU; empty: the usual one, on PATH
	KVM    string // device; empty: /dev/kvm
	// Executable calls Main, to save machines; empty: the running program.
	Executable string
}

// Driver starts QEMU processes.
type Driver struct {
	opts  Options
	cache string       // file with the probe's result
	tsc   func() int64 // frequency of the time stamp counter in kHz, measured once

	mu    sync.Mutex // held during a probe, so that there is only one
	known *result    // what the cache file holds; nil: not read yet

	digests digests
}

// New returns the driver.
func New(p paths.Paths, o Options) *Driver {
	o.Binary = cmp.Or(o.Binary, binary)
	o.KVM = cmp.Or(o.KVM, "/dev/kvm")
	return &Driver{opts: o, cache: p.Probe(), tsc: sync.OnceValue(tsc.KHz)}
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return "qemu" }

// Survey implements driver.Surveyor.
func (d *Driver) Survey() (map[string]bool, error) { return vmproc.Survey() }

// Probe implements driver.Driver.
func (d *Driver) Probe(ctx context.Context, kernel, initramfs string) (driver.Capability, error) {
	path, err := execx.LookPath(d.opts.Binary, debianPackage)
	if err != nil {
		return driver.Capability{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return driver.Capability{}, api.Errorf(api.KindUnsupported, "cannot use QEMU: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := d.host(path, info)
	if err != nil {
		return driver.Capability{}, err
	}
	found, err := d.recall(ctx, now)
	if err != nil {
		return driver.Capability{}, err
	}
	capability := driver.Capability{Version: found.Version, Accel: TCG}
	switch reason := d.kvmMissing(); {
	case d.opts.Accel != "":
		capability.Accel = d.opts.Accel
		if capability.Accel == TCG {
			capability.Reason = "the configuration asks for software emulation"
		}
		return capability, nil
	case reason != "":
		capability.Reason = reason
		return capability, nil
	}
	if !found.Tried && kernel != "" {
		if found, err = d.try(ctx, path, found, kernel, initramfs); err != nil {
			return driver.Capability{}, err
		}
	}
	switch {
	case found.Boots:
		capability.Accel = KVM
	case found.Tried:
		capability.Reason = found.Reason
	default:
		capability.Reason = "KVM is available, and will be tested when the first VM starts"
	}
	return capability, nil
}

// kvmMissing returns why KVM cannot be used, as far as that is known without a boot, or "" if it
// may work.
func (d *Driver) kvmMissing() string {
	f, err := os.OpenFile(d.opts.KVM, os.O_RDWR, 0)
	switch {
	case err == nil:
		f.Close()
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return "this machine has no " + d.opts.KVM + " (hardware virtualization is missing or disabled)"
	case errors.Is(err, fs.ErrPermission):
		return "you are not allowed to open " + d.opts.KVM + " (to change that: sudo usermod -aG kvm $USER, then log in again)"
	}
	return "KVM cannot be used: " + err.Error()
}
