package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/guestnet"
	"banger/internal/host/console"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/size"
	"banger/internal/vm/disks"
	"banger/internal/vm/filesync"
	"banger/internal/vm/instance"
	"banger/internal/vm/machines"
	"banger/internal/vm/ports"
	"banger/internal/vm/records"
	"banger/internal/vm/suspend"
)

// Starter starts VMs whose disk exists.
type Starter struct {
	paths    paths.Paths
	images   Images
	kernels  Kernels
	agent    string // path of the agent's binary
	defaults func() (Defaults, error)
	logger   *slog.Logger
	machines *machines.Machines
	disks    *disks.Disks
	ports    *ports.Ports
	files    *filesync.Syncer
	host     *hostSide
	ops      *operations

	suspender *suspend.Suspender
}

// Start starts a stopped or failed VM. A suspended one continues where it was, unless the request is cold.
func (s *Starter) Start(ctx context.Context, ref string, req api.StartVM) (*op.Op, error) {
	e, err := s.ops.table.ClaimStart(ref, records.KindStart, req.Force, func(at records.Snapshot) error {
		if at.Run != nil && at.VM.State == api.StatePaused {
			return at.Reachable()
		}
		if at.Run != nil && at.VM.State != api.StateSuspended {
			return api.Errorf(api.KindConflict, "VM %s runs already", at.VM.Name).WithHint("banger vm shell %s", at.VM.Name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	params, err := json.Marshal(req)
	if err != nil {
		e.Release()
		return nil, err
	}
	plan := s.ops.plan(e, records.KindStart, s.startSteps(e, req.Cold))
	plan.Params = string(params)
	return s.ops.launch(ctx, e, plan)
}

// startSteps start a VM that may be suspended, or that an earlier daemon has begun to wake.
func (s *Starter) startSteps(e *records.Entry, cold bool) []op.Step {
	switch state := e.Record().State; {
	case state != api.StateSuspended && state != api.StatePaused:
		return s.steps(e)
	case cold:
		return append([]op.Step{s.suspender.DropStep(e)}, s.steps(e)...)
	}
	return s.suspender.WakeSteps(e)
}

// startAgainSteps are the steps of a start that an earlier daemon began, with its parameters. Older
// daemons recorded none.
func (s *Starter) startAgainSteps(e *records.Entry, params string) []op.Step {
	var req api.StartVM
	_ = json.Unmarshal([]byte(params), &req)
	return s.startSteps(e, req.Cold)
}

// steps boot a VM whose disk exists.
func (s *Starter) steps(e *records.Entry) []op.Step {
	return slices.Concat([]op.Step{s.ops.turns.Step(e)}, s.ports.Steps(e), s.host.attachSteps(e), []op.Step{
		{Name: "vmm", Do: s.startVMM(e), Undo: func(ctx context.Context) error { return e.Kill(ctx, "its start was undone") }},
		{Name: "agent", Do: s.awaitAgent(e)},
	})
}

// startVMM starts the VMM process, or finds the one that an interrupted attempt
// started.
func (s *Starter) startVMM(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		v := e.Record()
		drv, err := s.machines.Driver(v.Driver)
		if err != nil {
			return err
		}
		if e.Run() != nil {
			return nil
		}
		// Again, for a start that is resumed here after a boot of the host.
		if err := s.ports.Serve(ctx, e); err != nil {
			return err
		}
		if err := s.ops.turns.Take(e)(ctx, report); err != nil { // of a start that is taken up here
			return err
		}
		part := s.ops.parts.begin(e)
		began := time.Now()
		machine, err := s.machines.Recover(ctx, drv, v.ID)
		if errors.Is(err, driver.ErrGone) {
			part("recover", time.Since(began))
			if _, err := s.disks.Ready(ctx, e, report); err != nil {
				return err
			}
			if err := s.images.CheckKernel(ctx, v.ImageDigest, v.KernelDigest, report); err != nil {
				return api.Errorf(api.KindOf(err), "cannot start VM %s: %w", v.Name, err)
			}
			machine, err = s.boot(ctx, drv, e, report, part)
		}
		if errors.Is(err, driver.ErrGone) {
			s.machines.LetGo(ctx, e) // nobody saw it run, so nobody sees its end
			return s.failed(ctx, e, api.KindInternal, "its VMM ended while the guest booted")
		}
		if err != nil {
			return err
		}
		s.machines.Adopt(e, machine)
		err = e.Update(ctx, func(v *api.VM) { v.Accel = machine.Accel() })
		if v = e.Record(); err == nil && v.StartedAt == nil {
			report(api.Progress{Step: api.StepSpec, Message: spec(v)})
		}
		return err
	}
}

// spec says what a new VM is like.
func spec(v api.VM) string {
	text := fmt.Sprintf("%s  %s  %d vCPU  %s  disk %s  %s/%s", v.Name, v.Image, v.VCPUs,
		size.Format(v.MemoryBytes), size.Format(v.DiskSize()), v.Driver, v.Accel)
	switch v.Network {
	case api.NetworkNone:
		text += "  no network"
	case api.NetworkIsolated:
		text += "  isolated"
	}
	return text
}

func (s *Starter) boot(ctx context.Context, drv driver.Driver, e *records.Entry, report api.Report, part func(string, time.Duration)) (driver.Machine, error) {
	report(api.Progress{Step: "vmm", Message: "starting the virtual machine"})
	if e.Record().Generation > 0 { // it is no copy of another guest any more
		if err := e.Update(ctx, func(v *api.VM) { v.Generation = 0 }); err != nil {
			return nil, err
		}
	}
	spec, err := s.spec(ctx, drv, e, report, part)
	if err != nil {
		return nil, err
	}
	return drv.Start(ctx, spec)
}

// spec returns what the VMM of a VM is started with, after a probe of the host.
func (s *Starter) spec(ctx context.Context, drv driver.Driver, e *records.Entry, report api.Report, part func(string, time.Duration)) (driver.Spec, error) {
	v := e.Record()
	began := time.Now()
	vmlinux, initramfs, err := s.kernels.Boot(ctx, v.KernelDigest, s.agent)
	if err != nil {
		return driver.Spec{}, err
	}
	found, err := drv.Probe(ctx, vmlinux, initramfs)
	if err != nil {
		return driver.Spec{}, err
	}
	if found.Accel == "tcg" {
		report(api.Progress{Step: api.StepNote, Message: "no usable KVM here: software emulation is used, which is slower (banger doctor says more)"})
	}
	if s.host.userMode() && v.Network == "" && driver.ResolversWithoutIPv4(os.ReadFile) {
		report(api.Progress{Step: api.StepNote, Message: "names do not resolve in the guest: this machine's name servers have IPv6 addresses alone (banger doctor says more)"})
	}
	// An image with its own init has programs that load modules, and that use them.
	if v.Init == api.InitSystemd {
		if vmlinux, initramfs, err = s.kernels.BootFull(ctx, v.KernelDigest, s.agent); err != nil {
			return driver.Spec{}, err
		}
	}
	part("probe", time.Since(began))
	d, err := s.disks.Driver(v.DiskDriver)
	if err != nil {
		return driver.Spec{}, err
	}
	cmdline, err := cmdline(v, s.host.userMode())
	if err != nil {
		return driver.Spec{}, api.Errorf(api.KindInternal, "cannot start VM %s: %w", v.Name, err)
	}
	return driver.Spec{
		ID: v.ID, Dir: s.paths.VM(v.ID), VCPUs: v.VCPUs, MemoryBytes: v.MemoryBytes,
		Kernel: vmlinux, Initramfs: initramfs, Cmdline: cmdline,
		Disk: s.disks.Path(v.ID), DiskFormat: d.Format(), Slot: v.Slot, NoNetwork: v.Network == api.NetworkNone, Isolated: v.Network == api.NetworkIsolated,
		Accel: found.Accel, Timed: part,
	}, nil
}

// systemdPath is the path of an image's init: the first that the kernel itself tries (init/main.c), a
// link to systemd if that is installed as the init.
const systemdPath = "/sbin/init"

// cmdline returns the guest's kernel command line. An isolated guest gets no name server, and in
// user mode no gateway, which would not pass its packets: so what it tries fails at once. In
// system mode its way to the host, which begins connections to it, is through the gateway.
func cmdline(v api.VM, userMode bool) (string, error) {
	boot := agentproto.Boot{Hostname: v.Name, Root: "/dev/vda"}
	switch {
	case v.Init == api.InitSystemd:
		boot.Init = systemdPath
	case api.IsInitPath(v.Init):
		boot.Init = v.Init
	}
	if v.Network != api.NetworkNone {
		boot.Address = guestnet.Address
	}
	if v.Network == "" || v.Network == api.NetworkIsolated && !userMode {
		boot.Gateway = guestnet.Gateway
	}
	if v.Network == "" {
		boot.DNS = guestnet.DNS
		boot.Search = driver.SearchDomains(os.ReadFile)
	}
	agent, err := boot.Cmdline()
	if err != nil {
		return "", err
	}
	return agentproto.BaseCmdline + " " + agent, nil
}

// awaitAgent waits until the guest answers. If it does not, awaitAgent ends the VMM, and the VM stays
// as failed for inspection.
func (s *Starter) awaitAgent(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		r := e.LastRun()
		if r == nil { // taken up after a crash of the daemon and the VMM
			if err := s.startVMM(e)(ctx, report); err != nil {
				return err
			}
			r = e.LastRun()
		}
		s.ops.turns.Join(e)
		defer s.ops.turns.End(e)
		report(api.Progress{Step: "agent", Message: "waiting for the guest"})
		defaults, err := s.defaults()
		if err != nil {
			return err
		}
		deadline := time.NewTimer(defaults.BootTimeout)
		defer deadline.Stop()
		var why string
		select {
		case <-r.Up():
			s.ops.turns.End(e) // whatever it starts on its own does not count
			err := s.files.AtStart(ctx, e.Record(), defaults.Files, r.Open, report)
			if err == nil {
				err = s.startBackground(ctx, e, r, e.Record().StartedAt == nil, report)
			}
			if err == nil {
				err = e.Started(ctx, r)
			}
			if !errors.Is(err, records.ErrEnded) {
				return err
			}
			<-r.Gone()
			why = whyNotBooted(r)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.Machine().Done():
			why = whyNotBooted(r)
		case <-deadline.C:
			return s.failed(ctx, e, api.KindTimeout, fmt.Sprintf("the guest did not answer within %s", defaults.BootTimeout))
		}
		return s.failed(ctx, e, api.KindInternal, why)
	}
}

func whyNotBooted(r *instance.Instance) string {
	return "its VMM ended while the guest booted" + instance.Describe(r.Machine().Exit())
}

// failed marks a VM as failed, shows the end of its console, and keeps it. The error
// is of that kind.
func (s *Starter) failed(ctx context.Context, e *records.Entry, kind api.Kind, why string) error {
	v := e.Record()
	if err := e.Kill(context.WithoutCancel(ctx), why); err != nil {
		s.logger.Error("cannot end the VMM of a failed VM", "vm", v.ID, "error", err)
	}
	err := e.Conclude(context.WithoutCancel(ctx), op.SettledFailed, func(v *api.VM) { v.State, v.Reason = api.StateFailed, why })
	tail, _ := console.Tail(filepath.Join(s.paths.VM(v.ID), paths.VMConsole), 12)
	text := strings.TrimRight(console.Sanitize(string(tail)), "\n")
	if text == "" {
		text = "(nothing)"
	}
	failure := api.Errorf(kind, "cannot start VM %s: %s; the last lines of its console:\n  %s", v.Name, why, strings.ReplaceAll(text, "\n", "\n  ")).
		WithHint("the VM still exists: banger vm logs %[1]s; banger vm start %[1]s; banger vm delete %[1]s", v.Name)
	return op.Keep(errors.Join(failure, err))
}
