// Package jailed is the driver of system mode: it has bangerd-root start VMMs in
// their jails, Firecracker's or QEMU's, and holds their processes by the
// descriptors it gets back.
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
	"banger/internal/paths"
	"banger/internal/proc"
	"banger/internal/rootapi"
)

// Helper is bangerd-root, as rootapi.Client reaches it.
type Helper interface {
	Do(ctx context.Context, call rootapi.Call, answer any, files ...*os.File) ([]*os.File, error)
}

// handleVersion is that of the handle, which is a rootapi.Process.
const handleVersion = 1

type handle struct {
	Version int `json:"version"`
	rootapi.Process
}

// base is what the drivers of both VMMs have in common.
type base struct {
	name   string // of the VMM and of the driver
	helper Helper
	boot   *BootFiles
}

// Name implements driver.Driver.
func (d *base) Name() string { return d.name }

// start has the helper start a VMM.
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
	if err != nil && p.Found { // it ran before, and is not this start's to end
		return nil, err
	}
	if err != nil {
		return nil, errors.Join(err, d.cleanUp(s.ID))
	}
	return m, nil
}

// ask asks the helper for the start. It keeps the files to boot from since they
// were first used, so they are brought only when it says that it has not.
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

// cleanWait bounds the clean-up of a failed start, which a cancelled context does
// not cut short.
const cleanWait = 30 * time.Second

// cleanUp leaves no process of a failed start. What else the host holds is taken
// back by whoever attached it.
func (d *base) cleanUp(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanWait)
	defer cancel()
	_, err := d.helper.Do(ctx, rootapi.VMKillCall{VM: rootapi.VM{ID: id}}, nil)
	return err
}

// openLogs opens the files that a VMM writes to: they are the owner's, and
// travel as descriptors.
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

// endedAtOnce is how the helper's error says that the VMM ended, and how.
const endedAtOnce = "ended at once"

// explained adds to the error of a start what the VMM said, the cause in plain words
// and the way out, if they are known.
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
		more += "; the VMM said: " + words
	}
	return api.Errorf(e.Kind, "%w%s", err, more).WithHint("%s", cmp.Or(hint, e.Hint))
}

// recover finds the VMM of a VM again.
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
	if errors.Is(err, proc.ErrGone) { // it ended since
		return nil, driver.ErrGone
	}
	return m, err
}

// machine takes over what the helper gave: the pidfd, and maybe the doorbell.
func (d *base) machine(id, dir string, p rootapi.Process, files []*os.File) (*Machine, error) {
	if len(files) == 0 {
		return nil, api.Errorf(api.KindInternal, "bangerd-root gave no descriptor of VM %s's process", id)
	}
	m := &Machine{id: id, dir: dir, process: p, helper: d.helper, vsock: d.name == rootapi.Firecracker}
	if len(files) > 1 {
		var err error
		m.bell, err = newBell(files[1])
		rootapi.CloseAll(files[1:])
		if err != nil {
			files[0].Close()
			return nil, fmt.Errorf("cannot use the doorbell of VM %s: %w", id, err)
		}
	}
	held, err := proc.FromPidfd(files[0], proc.Identity{PID: p.PID, StartTime: p.StartTime, BootID: p.BootID})
	if err != nil {
		m.bell.close()
		return nil, err
	}
	m.held = held
	return m, nil
}
