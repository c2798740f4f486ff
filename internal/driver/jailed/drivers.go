package jailed

import (
	"context"
	"encoding/json"
	"net"
	"strings"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/firecracker"
	"banger/internal/driver/firecracker/fcapi"
	"banger/internal/driver/qemu"
	"banger/internal/rootapi"
)

// Firecracker is the driver of Firecracker under its jailer.
type Firecracker struct{ base }

// NewFirecracker returns the driver.
func NewFirecracker(helper Helper, boot *BootFiles) *Firecracker {
	return &Firecracker{base{name: rootapi.Firecracker, helper: helper, boot: boot}}
}

// Probe implements driver.Driver. It boots nothing: Firecracker needs KVM, and a KVM that
// cannot boot a guest shows at the first start.
func (d *Firecracker) Probe(ctx context.Context, _, _ string) (driver.Capability, error) {
	host, err := d.check(ctx)
	if err != nil {
		return driver.Capability{}, err
	}
	if err := missing(rootapi.Firecracker, host.Firecracker); err != nil {
		return driver.Capability{}, err
	}
	if host.KVM != "" {
		return driver.Capability{}, api.Errorf(api.KindUnsupported, "Firecracker needs KVM: %s", host.KVM).
			WithHint("use QEMU, which does not need KVM: --driver qemu")
	}
	return driver.Capability{Version: host.Firecracker.Version, Accel: "kvm"}, nil
}

// Start implements driver.Driver.
func (d *Firecracker) Start(ctx context.Context, s driver.Spec) (driver.Machine, error) {
	m, err := d.start(ctx, s, "kvm")
	if err != nil {
		return nil, err
	}
	return firecrackerMachine{m}, nil
}

// Recover implements driver.Driver.
func (d *Firecracker) Recover(ctx context.Context, id, dir string, hint json.RawMessage) (driver.Machine, error) {
	m, err := d.recover(ctx, id, dir, hint)
	if err != nil {
		return nil, err
	}
	return firecrackerMachine{m}, nil
}

// firecrackerMachine adds the functions of Firecracker's API.
type firecrackerMachine struct{ *Machine }

// Pause implements driver.Pauser.
func (m firecrackerMachine) Pause(ctx context.Context) error {
	running, err := m.api().Version(ctx) // of the program that runs, not of the one that is installed
	if err == nil {
		err = firecracker.CanPause(running)
	}
	if err != nil {
		return err
	}
	return m.api().Pause(ctx)
}

// Resume implements driver.Pauser.
func (m firecrackerMachine) Resume(ctx context.Context) error { return m.api().Resume(ctx) }

func (m firecrackerMachine) api() *fcapi.Client { return fcapi.New(m.control) }

// control connects to the socket that controls the VMM.
func (m *Machine) control(ctx context.Context) (net.Conn, error) {
	return m.dial(ctx, rootapi.SocketAPI)
}

// qemuMachine adds the functions of QEMU's monitor.
type qemuMachine struct{ *Machine }

// Pause implements driver.Pauser.
func (m qemuMachine) Pause(ctx context.Context) error { return m.monitor().Pause(ctx) }

// Resume implements driver.Pauser.
func (m qemuMachine) Resume(ctx context.Context) error { return m.monitor().Resume(ctx) }

// Standing implements driver.Stander.
func (m qemuMachine) Standing(ctx context.Context) (string, error) { return m.monitor().Standing(ctx) }

func (m qemuMachine) monitor() qemu.Monitor { return m.control }

// QEMU is the driver of QEMU in system mode.
type QEMU struct {
	base
	user driver.Driver
	tsc  func() string
}

// NewQEMU returns the driver. user is the driver of user mode, which determines whether KVM
// works; clock returns the kernel argument with the clock's frequency for an emulated guest.
func NewQEMU(helper Helper, boot *BootFiles, user driver.Driver, clock func() string) *QEMU {
	return &QEMU{base{name: rootapi.QEMU, helper: helper, boot: boot}, user, clock}
}

// Probe implements driver.Driver.
func (d *QEMU) Probe(ctx context.Context, kernel, initramfs string) (driver.Capability, error) {
	host, err := d.check(ctx)
	if err != nil {
		return driver.Capability{}, err
	}
	if err := missing("QEMU", host.QEMU); err != nil {
		return driver.Capability{}, err
	}
	return d.user.Probe(ctx, kernel, initramfs)
}

// Start implements driver.Driver.
func (d *QEMU) Start(ctx context.Context, s driver.Spec) (driver.Machine, error) {
	accel := s.Accel
	if accel == "" {
		found, err := d.Probe(ctx, "", "")
		if err != nil {
			return nil, err
		}
		accel = found.Accel
	}
	if accel == "tcg" {
		s.Cmdline = d.tsc() + s.Cmdline
	}
	m, err := d.start(ctx, s, accel)
	if err != nil {
		return nil, err
	}
	return qemuMachine{m}, nil
}

// Recover implements driver.Driver.
func (d *QEMU) Recover(ctx context.Context, id, dir string, hint json.RawMessage) (driver.Machine, error) {
	m, err := d.recover(ctx, id, dir, hint)
	if err != nil {
		return nil, err
	}
	return qemuMachine{m}, nil
}

func (d *base) check(ctx context.Context) (rootapi.CheckAnswer, error) {
	var host rootapi.CheckAnswer
	_, err := d.helper.Do(ctx, rootapi.CheckCall{}, &host)
	return host, err
}

func missing(name string, c rootapi.VMMCheck) error {
	if c.Version != "" {
		return nil
	}
	err := api.Errorf(api.KindUnsupported, "cannot use %s: %s", name, strings.TrimPrefix(c.Reason, "cannot use "+name+": "))
	if c.Hint != "" {
		err = err.WithHint("%s", c.Hint)
	}
	return err
}
