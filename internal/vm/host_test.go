package vm

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"

	"banger/api"
)

// host plays the root helper: it holds something for each VM that was started, and
// gives no slot to two.
type host struct {
	mu       sync.Mutex
	held     map[string]int // the slot, by VM
	fails    int            // how many of the next releases fail
	usage    *api.DiskUsage // of each disk
	attached int64          // the length of the newest disk
}

func (h *host) AttachDisk(_ context.Context, v api.VM, _, path string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if info, err := os.Stat(path); err == nil {
		h.attached = info.Size()
	}
	for id, slot := range h.held {
		if slot == v.Slot && id != v.ID {
			return api.Errorf(api.KindConflict, "slot %d is that of VM %s", slot, id)
		}
	}
	if h.held == nil {
		h.held = map[string]int{}
	}
	h.held[v.ID] = v.Slot
	return nil
}

func (h *host) Release(_ context.Context, id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails > 0 {
		h.fails--
		return errors.New("in use by udev")
	}
	delete(h.held, id)
	return nil
}

// failReleases lets the next n releases fail.
func (h *host) failReleases(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails = n
}

func (h *host) Objects(context.Context) ([]api.HostObject, error) {
	var all []api.HostObject
	for _, id := range h.holdsFor() {
		all = append(all, api.HostObject{Kind: "jail", Name: id, ID: id})
	}
	return all, nil
}

// holdsFor are the VMs that something is held for.
func (h *host) holdsFor() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.held))
}

func (h *host) AttachNetwork(context.Context, api.VM) error { return nil }
func (h *host) Kill(context.Context, string) error          { return nil }
func (h *host) Snapshot(api.VM) bool                        { return false }
func (h *host) Addresses(_ context.Context, vms []api.VM) []string {
	return make([]string, len(vms))
}

func (h *host) DiskUsage(context.Context, api.VM) (*api.DiskUsage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.usage, nil
}

// use says how full each disk is from now on.
func (h *host) use(u *api.DiskUsage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.usage = u
}
