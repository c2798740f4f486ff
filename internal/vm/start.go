package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/guest/agentproto"
	"banger/internal/host/console"
	"banger/internal/op"
	"banger/internal/paths"
)

// Start starts a stopped or failed VM.
func (s *Service) Start(ctx context.Context, ref string, req api.StartVM) (*op.Op, error) {
	e, err := s.begin(ref, kindStart, func(e *entry) error {
		if e.run != nil {
			return api.Errorf(api.KindConflict, "VM %s runs already", e.vm.Name).WithHint("banger vm shell %s", e.vm.Name)
		}
		return s.checkMemory(e.id, e.vm.Name, e.vm.MemoryBytes, req.Force)
	})
	if err != nil {
		return nil, err
	}
	return s.launch(ctx, e, s.plan(e, kindStart, s.startSteps(e)))
}

// startSteps boot a VM whose disk exists.
func (s *Service) startSteps(e *entry) []op.Step {
	return slices.Concat([]op.Step{s.turnStep(e)}, s.portsSteps(e), s.hostSteps(e), []op.Step{
		{Name: "vmm", Do: s.startVMM(e), Undo: func(ctx context.Context) error { return s.killRun(ctx, e, "its start was undone") }},
		{Name: "agent", Do: s.awaitAgent(e)},
	})
}

// startVMM starts the VMM process, or finds the one that an interrupted attempt
// started.
func (s *Service) startVMM(e *entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		v := s.get(e)
		drv, err := s.driverOf(v.Driver)
		if err != nil {
			return err
		}
		if s.runOf(e) != nil {
			return nil
		}
		// Again, for a start that is resumed here after a boot of the host.
		if err := s.servePorts(ctx, e); err != nil {
			return err
		}
		if err := s.takeTurn(e)(ctx, report); err != nil { // of a start that is taken up here
			return err
		}
		part := s.timeParts(e)
		began := time.Now()
		machine, err := drv.Recover(ctx, v.ID, s.Paths.VM(v.ID), s.readHandle(v.ID))
		if errors.Is(err, driver.ErrGone) {
			part("recover", time.Since(began))
			if _, err := s.readyDisk(ctx, e); err != nil {
				return err
			}
			machine, err = s.boot(ctx, drv, e, report, part)
		}
		if errors.Is(err, driver.ErrGone) {
			s.letGo(ctx, e.id) // nobody saw it run, so nobody sees its end
			return s.failed(ctx, e, api.KindInternal, "its VMM ended while the guest booted")
		}
		if err != nil {
			return err
		}
		s.adopt(e, machine)
		return s.update(ctx, e, func(v *api.VM) { v.Accel = machine.Accel() })
	}
}

func (s *Service) boot(ctx context.Context, drv driver.Driver, e *entry, report api.Report, part func(string, time.Duration)) (driver.Machine, error) {
	v := s.get(e)
	began := time.Now()
	vmlinux, initramfs, err := s.Kernels.Boot(ctx, v.KernelDigest, s.Agent)
	if err != nil {
		return nil, err
	}
	report(api.Progress{Step: "vmm", Message: "starting the virtual machine"})
	found, err := drv.Probe(ctx, vmlinux, initramfs)
	if err != nil {
		return nil, err
	}
	if found.Accel == "tcg" {
		report(api.Progress{Step: api.StepNote, Message: "no usable KVM here: software emulation is used, which is slower (banger doctor says more)"})
	}
	if s.Host == nil && v.Network != api.NetworkNone && driver.ResolversWithoutIPv4(os.ReadFile) {
		report(api.Progress{Step: api.StepNote, Message: "names do not resolve in the guest: this machine's name servers have IPv6 addresses alone (banger doctor says more)"})
	}
	// An image with its own init has programs that load modules, and that use them.
	if v.Init == api.InitSystemd {
		if vmlinux, initramfs, err = s.Kernels.BootFull(ctx, v.KernelDigest, s.Agent); err != nil {
			return nil, err
		}
	}
	part("probe", time.Since(began))
	d, err := s.diskDriver(v.DiskDriver)
	if err != nil {
		return nil, err
	}
	cmdline, err := cmdline(v)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot start VM %s: %w", v.Name, err)
	}
	return drv.Start(ctx, driver.Spec{
		ID: v.ID, Dir: s.Paths.VM(v.ID), VCPUs: v.VCPUs, MemoryBytes: v.MemoryBytes,
		Kernel: vmlinux, Initramfs: initramfs, Cmdline: cmdline,
		Disk: s.diskPath(v.ID), DiskFormat: d.Format(), Slot: v.Slot, NoNetwork: v.Network == api.NetworkNone,
		Accel: found.Accel, Timed: part,
	})
}

// timeParts returns the function that a driver calls with the duration of each part of a start.
func (s *Service) timeParts(e *entry) func(part string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.parts = nil
	return func(part string, took time.Duration) {
		s.mu.Lock()
		defer s.mu.Unlock()
		e.parts = append(e.parts, api.StepTiming{Step: "vmm/" + part, Milliseconds: float64(took.Microseconds()) / 1000})
	}
}

// withParts adds the parts of the vmm step to an operation's timing.
func (s *Service) withParts(e *entry, steps []api.StepTiming) []api.StepTiming {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(steps, func(t api.StepTiming) bool { return t.Step == "vmm" })
	if at < 0 {
		return steps
	}
	return slices.Insert(steps, at+1, e.parts...)
}

func (s *Service) diskDriver(name string) (disk.Driver, error) {
	for _, d := range s.Disks {
		if d.Name() == name {
			return d, nil
		}
	}
	return nil, api.Errorf(api.KindInternal, "no disk driver named %q", name)
}

// cmdline returns the guest's kernel command line.
func cmdline(v api.VM) (string, error) {
	boot := agentproto.Boot{Hostname: v.Name, Root: "/dev/vda"}
	switch {
	case v.Init == api.InitSystemd:
		boot.Init = systemdPath
	case api.IsInitPath(v.Init):
		boot.Init = v.Init
	}
	if v.Network != api.NetworkNone {
		boot.Address, boot.Gateway, boot.DNS = driver.UserNetwork()
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
func (s *Service) awaitAgent(e *entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		r := s.lastRun(e)
		if r == nil { // taken up after a crash of the daemon and the VMM
			if err := s.startVMM(e)(ctx, report); err != nil {
				return err
			}
			r = s.lastRun(e)
		}
		s.joinStarts(e)
		defer s.endTurn(e)
		report(api.Progress{Step: "agent", Message: "waiting for the guest"})
		defaults, err := s.Defaults()
		if err != nil {
			return err
		}
		deadline := time.NewTimer(defaults.BootTimeout)
		defer deadline.Stop()
		var why string
		select {
		case <-r.up:
			s.endTurn(e) // whatever it starts on its own does not count
			err := s.startBackground(ctx, e, r, s.get(e).StartedAt == nil, report)
			if err == nil {
				err = s.started(ctx, e, r)
			}
			if !errors.Is(err, errEnded) {
				return err
			}
			<-r.gone
			why = whyNotBooted(r)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.machine.Done():
			why = whyNotBooted(r)
		case <-deadline.C:
			return s.failed(ctx, e, api.KindTimeout, fmt.Sprintf("the guest did not answer within %s", defaults.BootTimeout))
		}
		return s.failed(ctx, e, api.KindInternal, why)
	}
}

func whyNotBooted(r *instance) string {
	return "its VMM ended while the guest booted" + describe(r.machine.Exit())
}

// errEnded means that a guest has answered and is gone.
var errEnded = errors.New("the VMM has ended")

// started records that a VM runs, if it does: ended cannot come between.
func (s *Service) started(ctx context.Context, e *entry, r *instance) error {
	e.row.Lock()
	defer e.row.Unlock()
	if s.runOf(e) != r {
		return errEnded
	}
	now := time.Now()
	return s.write(ctx, e, op.SettledDone, func(v *api.VM) {
		v.State, v.Reason, v.StartedAt, v.StoppedAt = api.StateRunning, "", &now, nil
		v.BootID = r.bootID()
	})
}

// failed marks a VM as failed, shows the end of its console, and keeps it. The error
// is of that kind.
func (s *Service) failed(ctx context.Context, e *entry, kind api.Kind, why string) error {
	v := s.get(e)
	if err := s.killRun(context.WithoutCancel(ctx), e, why); err != nil {
		s.Logger.Error("cannot end the VMM of a failed VM", "vm", v.ID, "error", err)
	}
	err := s.conclude(context.WithoutCancel(ctx), e, op.SettledFailed, func(v *api.VM) { v.State, v.Reason = api.StateFailed, why })
	tail, _ := console.Tail(filepath.Join(s.Paths.VM(v.ID), paths.VMConsole), 12)
	text := strings.TrimRight(console.Sanitize(string(tail)), "\n")
	if text == "" {
		text = "(nothing)"
	}
	failure := api.Errorf(kind, "cannot start VM %s: %s; the last lines of its console:\n  %s", v.Name, why, strings.ReplaceAll(text, "\n", "\n  ")).
		WithHint("the VM still exists: banger vm logs %[1]s; banger vm start %[1]s; banger vm delete %[1]s", v.Name)
	return op.Keep(errors.Join(failure, err))
}

func describe(x driver.Exit) string {
	text := ""
	if x.Code > 0 {
		text = fmt.Sprintf(" with status %d", x.Code)
	}
	if x.Message != "" {
		text += ": " + x.Message
	}
	return text
}

// handles is the content of handles.json: a cache of the kernel's state of a VM, which is never
// trusted.
type handles struct {
	Version int             `json:"version"`
	Machine json.RawMessage `json:"machine"`
}

func (s *Service) readHandle(id string) json.RawMessage {
	var h handles
	data, err := os.ReadFile(filepath.Join(s.Paths.VM(id), paths.VMHandles))
	if err != nil || json.Unmarshal(data, &h) != nil || h.Version != 1 {
		return nil
	}
	return h.Machine
}
