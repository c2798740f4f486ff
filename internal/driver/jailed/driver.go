// Package jailed is the driver of system mode: it makes bangerd-root start VMMs, Firecracker or
// QEMU, in their jails, and holds their processes by the descriptors that bangerd-root returns.
package jailed

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/vmproc"
	"banger/internal/host/proc"
	"banger/internal/paths"
	"banger/internal/rootapi"
)

// Helper is bangerd-root, as reached through rootapi.Client.
type Helper interface {
	Do(ctx context.Context, call rootapi.Call, answer any, files ...*os.File) ([]*os.File, error)
}

// handleVersion is that of the handle, which is a rootapi.Process.
const handleVersion = 1

type handle struct {
	Version int `json:"version"`
	rootapi.Process
}

// base is the common part of the drivers of both VMMs.
type base struct {
	name   string // of the VMM and of the driver
	helper Helper
	boot   *BootFiles
}

// Name implements driver.Driver.
func (d *base) Name() string { return d.name }

// start makes the helper start a VMM.
func (d *base) start(ctx context.Context, s driver.Spec, accel string) (*Machine, error) {
	if ctx.Err() != nil {
		return nil, api.Errorf(api.KindCanceled, "cannot start the VM: %w", context.Cause(ctx))
	}
	logs, err := openLogs(s.Dir)
	if err != nil {
		return nil, err
	}
	defer rootapi.CloseAll(logs)
	p, files, err := d.ask(ctx, s, accel, logs)
	if err != nil {
		return nil, errors.Join(explained(err, s.Dir), d.cleanUp(s.ID))
	}
	for _, t := range p.Timing {
		timed(s, t.Step, time.Duration(t.Milliseconds*float64(time.Millisecond)))
	}
	m, err := d.machine(s.ID, s.Dir, p, files)
	if err != nil && p.Found { // it was running before: this start must not end it
		return nil, err
	}
	if err != nil {
		return nil, errors.Join(err, d.cleanUp(s.ID))
	}
	return m, nil
}

// ask asks the helper for the start. The helper stores the files to boot from at their first
// use, so they are sent only if it answers that it lacks them.
func (d *base) ask(ctx context.Context, s driver.Spec, accel string, logs []*os.File) (p rootapi.Process, files []*os.File, err error) {
	began := time.Now()
	kernel, err := d.boot.digestOf(s.Kernel)
	if err != nil {
		return p, nil, err
	}
	initramfs, err := d.boot.digestOf(s.Initramfs)
	if err != nil {
		return p, nil, err
	}
	timed(s, "digests", time.Since(began))
	call := rootapi.VMStartCall{
		VM: rootapi.VM{ID: s.ID}, Slot: s.Slot, VMM: d.name, Accel: accel, VCPUs: s.VCPUs, MemoryMiB: s.MemoryBytes >> 20,
		Kernel: kernel, Initramfs: initramfs, Cmdline: s.Cmdline, NoNetwork: s.NoNetwork,
	}
	files, err = d.helper.Do(ctx, call, &p, logs...)
	if api.KindOf(err) != api.KindNotFound {
		return p, files, err
	}
	began = time.Now()
	if err := d.boot.Keep(ctx, d.helper, s.Kernel, s.Initramfs); err != nil {
		return p, nil, err
	}
	timed(s, "boot files", time.Since(began))
	files, err = d.helper.Do(ctx, call, &p, logs...)
	return p, files, err
}

func timed(s driver.Spec, part string, took time.Duration) {
	if s.Timed != nil {
		s.Timed(part, took)
	}
}

// cleanWait bounds the clean-up of a failed start, which does not end with a cancelled context.
const cleanWait = 30 * time.Second

// cleanUp ends the processes of a failed start. Whoever attached other objects of the host
// removes them.
func (d *base) cleanUp(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanWait)
	defer cancel()
	_, err := d.helper.Do(ctx, rootapi.VMKillCall{VM: rootapi.VM{ID: id}}, nil)
	return err
}

// openLogs opens the files that a VMM writes to: they belong to the owner, and are passed as
// descriptors.
func openLogs(dir string) (files []*os.File, err error) {
	for _, name := range []string{paths.VMConsole, paths.VMLog} {
		flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
		if name == paths.VMLog {
			flags |= os.O_TRUNC
		}
		f, err := os.OpenFile(filepath.Join(dir, name), flags, 0o600)
		if err != nil {
			rootapi.CloseAll(files)
			return nil, vmproc.HostError("cannot open the VM's logs", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// endedAtOnce is the part of the helper's error that precedes how the VMM ended.
const endedAtOnce = "ended at once"

// explained adds to the error of a start the VMM's output, the cause in plain words and the
// remedy, if they are known.
func explained(err error, dir string) error {
	e, words := api.AsError(err), vmproc.LastWords(dir)
	cause, hint := vmproc.Cause(words)
	if _, how, ended := strings.Cut(e.Message, endedAtOnce); cause == "" && ended {
		cause, hint = vmproc.Cause(how)
	}
	var more string
	if cause != "" {
		more = ": " + cause
	}
	if words != "" {
		more += "; the VMM's output: " + words
	}
	return api.Errorf(e.Kind, "%w%s", err, more).WithHint("%s", cmp.Or(hint, e.Hint))
}

// recover finds the running VMM of a VM.
func (d *base) recover(ctx context.Context, id, dir string, hint json.RawMessage) (*Machine, error) {
	var h handle
	if json.Unmarshal(hint, &h) != nil || h.Version != handleVersion {
		h = handle{}
	}
	var found rootapi.VMFindAnswer
	files, err := d.helper.Do(ctx, rootapi.VMFindCall{VM: rootapi.VM{ID: id}, Hint: h.Process}, &found)
	if err != nil {
		return nil, err
	}
	if found.Process == nil || found.Process.VMM != d.name {
		rootapi.CloseAll(files)
		return nil, driver.ErrGone
	}
	m, err := d.machine(id, dir, *found.Process, files)
	if errors.Is(err, proc.ErrGone) { // it has ended since
		return nil, driver.ErrGone
	}
	return m, err
}

// machine takes ownership of the helper's descriptors: the pidfd, and the guestReady socket if
// there is one.
func (d *base) machine(id, dir string, p rootapi.Process, files []*os.File) (*Machine, error) {
	if len(files) == 0 {
		return nil, api.Errorf(api.KindInternal, "bangerd-root returned no descriptor of the process of VM %s", id)
	}
	m := &Machine{id: id, dir: dir, process: p, helper: d.helper, vsock: d.name == rootapi.Firecracker}
	if len(files) > 1 {
		var err error
		m.ready, err = newGuestReady(files[1])
		rootapi.CloseAll(files[1:])
		if err != nil {
			files[0].Close()
			return nil, fmt.Errorf("cannot use the ready socket of VM %s: %w", id, err)
		}
	}
	held, err := proc.FromPidfd(files[0], proc.Identity{PID: p.PID, StartTime: p.StartTime, BootID: p.BootID})
	if err != nil {
		m.ready.close()
		return nil, err
	}
	m.held = held
	return m, nil
}
