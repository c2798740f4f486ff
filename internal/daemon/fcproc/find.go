package fcproc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"banger/api"
	"banger/internal/host/proc"
	"banger/internal/vmid"
)

// Query describes the VMM to find: its VM, the properties that it must have, and a hint.
type Query struct {
	ID   string   // the VM's
	Name string   // of the process: Firecracker, or what the VM's unit runs
	UID  uint32   // the VM's own
	Root *os.File // its root directory, which the caller opened beforehand

	AnyName bool // in place of Name: a VMM whose name proves nothing

	Hint proc.Identity // from handles.json; may be the zero value
}

// The values of Handle.Via: the ways to a VMM.
const (
	ViaHint    = "hint"
	ViaCgroup  = "cgroup"
	ViaPidfile = "pidfile"
)

// Find returns the VM's VMM: the process that the hint names; otherwise one in the VM's cgroup;
// otherwise the one that the pidfile names, which may be in a cgroup below that. It passed every check
// while it was held. The cost depends only on the VM's own processes, not on those of others.
//
// The error is of kind api.KindNotFound if no such process exists, and of another kind if that is
// unknown: do not assume then that the VM is stopped. Between the
// start of the unit and the jailer's exec of the VMM there is none yet.
func (h Host) Find(ctx context.Context, q Query) (*Handle, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	var refused []error
	for _, way := range ways {
		p, err := h.tryAll(ctx, way, q)
		if p != nil {
			return &Handle{process: p, via: way.via}, nil
		}
		if err != nil && kindOf(err) != api.KindNotFound {
			return nil, api.Errorf(api.KindInternal, "cannot tell whether VM %s runs: by its %s: %w", q.ID, way.via, err).
				WithHint("`journalctl -u bangerd-root` may say more; the VM is left alone")
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("by its %s: %w", way.via, err))
		}
	}
	return nil, api.Errorf(api.KindNotFound, "cannot find the VMM of VM %s: %w", q.ID, errors.Join(append(refused, proc.ErrGone)...)).
		WithHint("journalctl -u %s   shows how it ended", vmid.Unit(q.ID))
}

func (q Query) validate() error {
	switch {
	case !vmid.Valid(q.ID):
		return api.Errorf(api.KindInvalid, "cannot find a VMM: %q is not a VM's id", q.ID)
	case q.Name == "" && !q.AnyName || q.UID == 0 || q.Root == nil:
		return api.Errorf(api.KindInvalid, "cannot find the VMM of VM %s: a name, a uid and a root directory are needed to prove it", q.ID)
	}
	return nil
}

// way is one way to processes that may be the VMM.
type way struct {
	via  string
	pids func(h Host, q Query) ([]int, error)
}

// ways are ordered by how likely they lead to the VMM.
var ways = []way{
	{ViaHint, func(_ Host, q Query) ([]int, error) {
		if q.Hint == (proc.Identity{}) {
			return nil, nil
		}
		return []int{q.Hint.PID}, nil
	}},
	{ViaCgroup, func(h Host, q Query) ([]int, error) {
		var all []int
		for _, cgroup := range cgroups(q.ID) {
			pids, err := h.members(cgroup)
			if err != nil {
				return nil, err
			}
			all = append(all, pids...)
		}
		return all, nil
	}},
	// The caller has opened the chroot that the socket's symlink leads into.
	{ViaPidfile, func(_ Host, q Query) ([]int, error) {
		pid, err := readPidfile(q.Root)
		return []int{pid}, err
	}},
}

// tryAll returns the first process on the way that passes every check. Its error
// says why the first of the others did not: a VMM may start as many as its unit lets it.
func (h Host) tryAll(ctx context.Context, w way, q Query) (*proc.Process, error) {
	pids, first := w.pids(h, q)
	if first != nil {
		return nil, first
	}
	for _, pid := range pids {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		p, err := h.hold(w, pid, q)
		if err == nil {
			return p, nil
		}
		if kindOf(err) != api.KindNotFound {
			return nil, err
		}
		first = cmp.Or(first, err)
	}
	return nil, first
}

func (h Host) hold(w way, pid int, q Query) (*proc.Process, error) {
	open := func() (*proc.Process, error) { return proc.Open(pid) }
	if w.via == ViaHint {
		open = func() (*proc.Process, error) { return proc.OpenIdentity(q.Hint) }
	}
	p, err := open()
	if err != nil {
		return nil, err
	}
	if err := h.prove(p, q, isNamed, isUser, inCgroup, isRooted); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}
