package roothelper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"banger/api"
	"banger/internal/rootapi"
	"banger/internal/vmid"
)

// list returns every object of the host that carries banger's names.
func (h *Helper) list(ctx context.Context) (rootapi.ListAnswer, error) {
	var all []rootapi.Object
	add := func(kind, name, id string) { all = append(all, rootapi.Object{Kind: kind, Name: name, ID: id}) }
	units, err := h.Units.List(ctx, vmid.Unit("*"))
	if err != nil {
		return rootapi.ListAnswer{}, err
	}
	for _, u := range units {
		if id, ok := vmid.FromUnit(u.Name); ok {
			add(rootapi.KindUnit, u.Name, id)
		}
	}
	blocks, blockErr := h.Blocks.List()
	for _, b := range blocks {
		add(b.Kind, b.Name, b.ID)
	}
	networks, netErr := h.Networks.List()
	for _, n := range networks {
		add(n.Kind, n.Name, n.ID)
	}
	jails, jailErr := h.jails()
	for _, id := range jails {
		add(rootapi.KindJail, id, id)
	}
	processes, procErr := h.processes(ctx, jails)
	all = append(all, processes...)
	if err := errors.Join(blockErr, netErr, jailErr, procErr); err != nil {
		return rootapi.ListAnswer{}, err
	}
	slices.SortFunc(all, func(a, b rootapi.Object) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return rootapi.ListAnswer{Objects: all}, nil
}

// processes lists the processes with the user id of a VM. Their cgroup tells which VM it is,
// or for processes of older versions the jail that records the user id.
func (h *Helper) processes(ctx context.Context, jails []string) ([]rootapi.Object, error) {
	found, err := h.Host.Users(ctx, uint32(h.Settings.UIDBase), uint32(h.Settings.UIDBase+h.Settings.UIDCount))
	owners := map[uint32]string{}
	for _, id := range jails {
		if j, ok, _ := h.findJail(id); ok {
			if uid, err := j.uid(); err == nil {
				owners[uid] = id
			}
		}
	}
	var all []rootapi.Object
	for _, p := range found {
		id := cmp.Or(p.ID, owners[p.UID])
		all = append(all, rootapi.Object{Kind: rootapi.KindProcess, Name: fmt.Sprintf("%d (%s)", p.PID, p.Name), ID: id})
	}
	return all, err
}

// clearingTime bounds how long clear waits for VMs that are being started. A start takes a
// second or two; for a longer one the caller should not have to wait.
const clearingTime = 10 * time.Second

// clear removes the objects that are shared by all VMs, if no VM is left. No VM can be
// started during it.
func (h *Helper) clear(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, cmp.Or(h.clearing, clearingTime))
	defer cancel()
	done, err := h.shared.own(patience)
	if err != nil {
		return err
	}
	defer done()
	held, err := h.list(ctx)
	if err != nil {
		return err
	}
	for _, o := range held.Objects {
		if o.ID != "" {
			return api.Errorf(api.KindConflict, "the host still has the %s %s of VM %s", o.Kind, o.Name, o.ID).
				WithHint("banger vm list; banger doctor --leaks")
		}
	}
	err = errors.Join(h.Firewall.Remove(ctx), h.Names.Remove())
	kept, readErr := os.ReadDir(h.Dirs.Boot)
	if readErr != nil && !errors.Is(readErr, os.ErrNotExist) {
		err = errors.Join(err, readErr)
	}
	for _, k := range kept {
		err = errors.Join(err, os.Remove(filepath.Join(h.Dirs.Boot, k.Name())))
	}
	return err
}
