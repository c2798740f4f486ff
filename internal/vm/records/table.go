// Package records has the table of all VMs: their records in the store, and what works on each of
// them. A VM has one claim at a time.
package records

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"banger/api"
	"banger/internal/idref"
	"banger/internal/op"
	"banger/internal/paths"
)

// Store stores VMs. internal/store implements it.
type Store interface {
	AddVM(ctx context.Context, v api.VM) error
	PutVM(ctx context.Context, v api.VM) error
	// SettleVM is PutVM, and settles an operation in the same transaction.
	SettleVM(ctx context.Context, v api.VM, operation string, how op.Settled) error
	// AnswerVM is PutVM, and records an answer to a request in the same transaction.
	AnswerVM(ctx context.Context, v api.VM, request string, answer []byte) error
	DeleteVM(ctx context.Context, id string) error
}

// Options configure a Table.
type Options struct {
	Paths paths.Paths
	Store Store
	// System means that each VM has a slot, and that what runs for a VM can be killed although it
	// is not proven to be the VM's.
	System bool
	// Memory returns how much memory all running VMs together may have. It is called at each
	// start; nil: no limit.
	Memory func() Memory
	Logger *slog.Logger
}

// Table has all VMs. It is the only writer of their records in the store.
type Table struct {
	Options

	mu  sync.Mutex        // held over no call of the store's, nor any other that waits
	vms map[string]*Entry // by id
}

// New returns an empty table.
func New(o Options) *Table { return &Table{Options: o, vms: map[string]*Entry{}} }

// List returns all VMs, oldest first.
func (t *Table) List() []api.VM {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]api.VM, 0, len(t.vms))
	for _, e := range t.vms {
		if !e.fresh {
			all = append(all, e.view())
		}
	}
	slices.SortFunc(all, func(a, b api.VM) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Find looks a VM up by its name, its id or the beginning of its id.
func (t *Table) Find(ref string) (*Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.find(ref)
}

// ByID returns the VM with exactly that id, or nil.
func (t *Table) ByID(id string) *Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.vms[id]
}

// Look is Find, and returns the VM at this moment.
func (t *Table) Look(ref string) (Snapshot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, err := t.find(ref)
	if err != nil {
		return Snapshot{}, err
	}
	return e.snapshot(), nil
}

// Suspending reports whether a VM is being suspended.
func (t *Table) Suspending(ref string) bool {
	at, err := t.Look(ref)
	return err == nil && at.Busy == KindSuspend
}

// Snapshots returns all VMs at one moment, also those that are being recorded for the first time.
func (t *Table) Snapshots() []Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Snapshot, 0, len(t.vms))
	for _, e := range t.vms {
		all = append(all, e.snapshot())
	}
	return all
}

// find looks a VM up by id, name, or the beginning of its id. The caller holds mu.
func (t *Table) find(ref string) (*Entry, error) {
	if e, ok := t.vms[ref]; ok && !e.fresh {
		return e, nil
	}
	var all []*Entry
	for _, e := range t.vms {
		switch {
		case e.fresh:
		case e.vm.Name == ref:
			return e, nil
		default:
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *Entry) int { return strings.Compare(a.id, b.id) })
	ids := make([]string, len(all))
	for i, e := range all {
		ids[i] = e.id
	}
	at, err := idref.Find("VMs", ref, ids, func(i int) string { return idref.Label(ids[i], all[i].vm.Name) })
	if err != nil {
		return nil, api.AsError(err).WithHint("banger vm list")
	}
	if at >= 0 {
		return all[at], nil
	}
	return nil, api.Errorf(api.KindNotFound, "no VM named %.80q", ref).WithHint("banger vm list")
}

// InUse returns the names of the VMs that use an image or kernel. A VM for which that is unknown may
// use any.
func (t *Table) InUse(digest string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for _, e := range t.vms {
		unknown := e.damaged() && (e.vm.ImageDigest == "" || e.vm.KernelDigest == "")
		if e.vm.ImageDigest == digest || e.vm.KernelDigest == digest || unknown {
			names = append(names, e.vm.Name)
		}
	}
	slices.Sort(names)
	return names
}

// DisksInUse returns the sizes of the image's disks that VMs are made from:
// copy-on-write disks need their base as long as they exist. known is false while that is unknown for
// a VM.
func (t *Table) DisksInUse(digest string) (sizes []int64, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.vms {
		if e.damaged() && (e.vm.ImageDigest == "" || e.vm.DiskBytes == 0) {
			return nil, false
		}
		if e.vm.ImageDigest == digest {
			sizes = append(sizes, e.vm.DiskBytes)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), true
}

// Load takes a VM from the store into the table.
func (t *Table) Load(v api.VM) *Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &Entry{table: t, id: v.ID, vm: v}
	t.vms[v.ID] = e
	return e
}

// Add records a new VM, under a generated name if generate is set. An operation of that kind has it
// from the first moment on: no other operation can begin on it.
func (t *Table) Add(ctx context.Context, v api.VM, generate bool, kind string, force bool) (*Entry, error) {
	for tries := 0; ; tries++ {
		if generate {
			v.Name = randomName()
			if tries > 3 {
				v.Name += "-" + v.ID[:4]
			}
		}
		e, err := t.reserve(v, kind, force)
		if err != nil {
			return nil, err
		}
		if err = t.Store.AddVM(ctx, e.Record()); err == nil {
			t.mu.Lock()
			e.fresh = false
			t.mu.Unlock()
			return e, nil
		}
		t.drop(e)
		if !generate || api.KindOf(err) != api.KindExists || tries > 5 {
			return nil, err
		}
	}
}

// reserve gives a new VM its slot. Its memory, image and kernel are in use from then on. Requests
// cannot find the VM yet.
func (t *Table) reserve(v api.VM, kind string, force bool) (*Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if kind == KindRun {
		if err := t.checkMemory(v.ID, "", v.MemoryBytes, force); err != nil {
			return nil, err
		}
	}
	slot, err := t.takeSlot()
	if err != nil {
		return nil, err
	}
	v.Slot = slot
	e := &Entry{table: t, id: v.ID, vm: v, fresh: true, busy: kind}
	t.vms[v.ID] = e
	return e, nil
}

func (t *Table) drop(e *Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.vms, e.id)
}

// maxSlot is the last slot, and the number of user ids and addresses.
const maxSlot = 16383

// takeSlot gives a new VM the lowest free slot. The caller holds mu.
func (t *Table) takeSlot() (int, error) {
	if !t.System {
		return 0, nil
	}
	taken := map[int]bool{}
	for _, e := range t.vms {
		taken[e.vm.Slot] = true
	}
	for slot := 1; slot <= maxSlot; slot++ {
		if !taken[slot] {
			return slot, nil
		}
	}
	return 0, api.Errorf(api.KindUnsupported, "there are already %d VMs, and no user id for another", len(t.vms)).
		WithHint("banger vm delete NAME, for a VM that nobody needs")
}
