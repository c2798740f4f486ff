package roothelper

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"banger/api"
	"banger/internal/daemon/fcproc"
	"banger/internal/host/proc"
	"banger/internal/rootapi"
	"banger/internal/vmid"
)

// find returns the VM's VMM after proving its identity, or nil if none runs.
func (h *Helper) find(ctx context.Context, id string, hint proc.Identity) (*fcproc.Handle, jail, error) {
	j, found, err := h.findJail(id)
	if err != nil || !found {
		return nil, j, err
	}
	uid, err := j.uid()
	if err != nil || uid == 0 { // it was being created
		return nil, j, err
	}
	if !h.Settings.owns(uid) {
		return nil, j, api.Errorf(api.KindInternal, "the jail of VM %s belongs to group %d, which is not a VM's", id, uid).
			WithHint("sudo ls -ld %s", j.dir)
	}
	root, err := h.openVMMRoot(j)
	if errors.Is(err, os.ErrNotExist) { // it was being removed, which happens only if none runs
		return nil, j, nil
	}
	if err != nil {
		return nil, j, err
	}
	defer root.Close()
	// The jailer preserves the program's name, which distinguishes Firecracker from the
	// jailer. QEMU's program may have any name, and QEMU can change it (PR_SET_NAME(2const)).
	// It need not be distinguished from the launcher: once the launcher has the VM's user
	// id, it executes QEMU in the same process.
	p, err := h.Host.Find(ctx, fcproc.Query{
		ID: id, Name: j.program, AnyName: j.program == qemuProgram, UID: uid, Root: root, Hint: hint,
	})
	if api.KindOf(err) == api.KindNotFound {
		return nil, j, nil
	}
	return p, j, err
}

// openVMMRoot opens the directory that must be the VMM's root directory.
func (h *Helper) openVMMRoot(j jail) (*os.File, error) {
	if j.program == qemuProgram {
		return os.Open("/")
	}
	return h.openRoot(j)
}

// How long a unit that is being started may take until its VMM runs, and how often that is
// checked. This is the rare case of a request during the start of another request that was
// interrupted.
const (
	startingTime  = 20 * time.Second
	startingPause = 20 * time.Millisecond
)

// findOrAwait is find, but waits while the VM's unit runs a process that is not the VMM yet.
func (h *Helper) findOrAwait(ctx context.Context, id string, hint proc.Identity) (*fcproc.Handle, jail, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(h.starting, startingTime))
	defer cancel()
	for {
		p, j, err := h.find(ctx, id, hint)
		if p != nil || err != nil {
			return p, j, err
		}
		pid, err := h.Units.MainPID(ctx, vmid.Unit(id))
		if err != nil || pid == 0 {
			return nil, j, err
		}
		select {
		case <-time.After(startingPause):
		case <-ctx.Done():
			return nil, j, api.Errorf(api.KindInternal, "the unit %s runs a process that is not the VMM of VM %s", vmid.Unit(id), id).
				WithHint("sudo systemctl status %s", vmid.Unit(id))
		}
	}
}

// mustNotRun refuses a request that must not be executed while the VMM runs.
func (h *Helper) mustNotRun(ctx context.Context, id string) error {
	p, _, err := h.findOrAwait(ctx, id, proc.Identity{})
	if err != nil {
		return err
	}
	if p != nil {
		p.Close()
		return api.Errorf(api.KindConflict, "VM %s runs", id)
	}
	return nil
}

func (h *Helper) vmFind(ctx context.Context, c rootapi.VMFindCall) (any, []*os.File, error) {
	hint := proc.Identity{PID: c.Hint.PID, StartTime: c.Hint.StartTime, BootID: c.Hint.BootID}
	p, j, err := h.findOrAwait(ctx, c.ID, hint)
	if err != nil || p == nil {
		return rootapi.VMFindAnswer{}, nil, err
	}
	defer p.Close()
	answer, err := describe(p, j)
	if err = errors.Join(err, h.sealServing(j)); err != nil {
		return rootapi.VMFindAnswer{}, nil, err
	}
	file, err := p.Process().File()
	if err != nil {
		return rootapi.VMFindAnswer{}, nil, err
	}
	return rootapi.VMFindAnswer{Process: &answer}, []*os.File{file}, nil
}

// describe returns the description of a VMM.
func describe(p *fcproc.Handle, j jail) (rootapi.Process, error) {
	id := p.Identity()
	answer := rootapi.Process{
		PID: id.PID, StartTime: id.StartTime, BootID: id.BootID, VMM: rootapi.Firecracker, Accel: "kvm", Found: true,
	}
	if j.program == qemuProgram {
		args, err := p.Process().Cmdline()
		if err != nil {
			return answer, err
		}
		answer.VMM, answer.Accel = rootapi.QEMU, accelOf(args)
	}
	return answer, nil
}

// accelOf returns the accelerator in QEMU's arguments, or "" if it is unknown. The helper
// wrote the arguments, but QEMU can change them.
func accelOf(args []string) string {
	for i := 0; i+1 < len(args); i++ {
		if args[i] != "-accel" {
			continue
		}
		if accel, _, _ := strings.Cut(args[i+1], ","); accel == "kvm" || accel == "tcg" {
			return accel
		}
	}
	return ""
}

func (h *Helper) vmKill(ctx context.Context, c rootapi.VMKillCall, _ []*os.File) (any, error) {
	unit := vmid.Unit(c.ID)
	p, _, err := h.find(ctx, c.ID, proc.Identity{})
	if p != nil {
		err = p.End(ctx, c.Signal)
		p.Close()
	}
	if c.Signal != "" { // it may take a while, or not end: who asked decides
		return nil, err
	}
	// Processes of the unit that are not the VMM, such as a jailer that has not started it,
	// end with the unit. The unit's name proves that it is the VM's, whatever the jail
	// contains.
	return nil, errors.Join(err, h.Units.Stop(ctx, unit))
}

func (h *Helper) vmRelease(ctx context.Context, c rootapi.VMReleaseCall, _ []*os.File) (any, error) {
	if err := h.mustNotRun(ctx, c.ID); err != nil {
		return nil, err
	}
	// The device can be removed only when nothing holds it, and the network when nothing
	// uses it. The jail is removed last, because a later search finds the VMM by it.
	return nil, errors.Join(
		h.Units.Stop(ctx, vmid.Unit(c.ID)), h.Networks.Detach(ctx, c.ID), h.Blocks.Detach(ctx, c.ID), h.removeJail(ctx, c.ID),
	)
}
