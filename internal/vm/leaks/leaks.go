// Package leaks compares the host's objects with the store's VMs, in both directions. It
// only computes: reconcile removes what it finds, and `banger doctor --leaks` prints it.
package leaks

import (
	"cmp"
	"fmt"
	"slices"

	"banger/internal/vmid"
)

// The kinds of Object.
const (
	Unit    = "unit"
	Process = "process"
	DM      = "dm"
	Loop    = "loop"
	Netns   = "netns"
	Link    = "link"
	Jail    = "jail"
	Mount   = "mount"
	Boot    = "boot" // a kernel or initramfs, named by its digest
)

// HostKinds returns the kinds of the objects that the root helper lists.
func HostKinds() []string { return []string{Unit, Process, DM, Loop, Netns, Link, Jail} }

// Object is an object of the host that carries banger's names.
type Object struct {
	Kind string
	Name string
	ID   string // of the VM; empty: shared, or no VM's id
}

// State is the store's state of a VM, as far as it matters here.
type State int

// The states.
const (
	Stopped  State = iota // it must have no objects
	Running               // or paused: it must have all objects
	Changing              // an operation is in progress on it: it may have any objects
)

// VM is a VM in the store.
type VM struct {
	ID        string
	State     State
	NoNetwork bool     // its namespace has no link
	Snapshot  bool     // its disk is a device-mapper snapshot, otherwise a file
	Boot      []string // the digests of its kernel and initramfs
}

// Finding is one difference.
type Finding struct {
	Object
	Missing bool // the VM lacks it; otherwise it belongs to no VM
	Why     string
}

// Compare returns every difference, sorted. Objects and VMs must be from the same moment:
// list the objects between two reads of the store, and compare the VMs that are the same in
// both.
func Compare(objects []Object, vms []VM) []Finding {
	known := make(map[string]VM, len(vms))
	for _, v := range vms {
		known[v.ID] = v
	}
	var found []Finding
	held := map[Object]bool{} // by kind and id
	for _, o := range objects {
		held[Object{Kind: o.Kind, ID: o.ID}] = true
		if why := orphanReason(o, known, vms); why != "" {
			found = append(found, Finding{Object: o, Why: why})
		}
	}
	for _, v := range known {
		found = append(found, missing(v, held)...)
	}
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return found
}

// orphanReason returns why the host need not have an object, or "" if it must.
func orphanReason(o Object, known map[string]VM, vms []VM) string {
	if o.ID == "" {
		return sharedOrphanReason(o, vms)
	}
	v, ok := known[o.ID]
	switch {
	case !ok:
		return fmt.Sprintf("there is no VM %s", o.ID)
	case v.State == Stopped:
		return fmt.Sprintf("VM %s does not run", o.ID)
	case v.State == Running && o.Kind == Link && v.NoNetwork:
		return fmt.Sprintf("VM %s has no network", o.ID)
	case v.State == Running && o.Kind == DM && !v.Snapshot:
		return fmt.Sprintf("the disk of VM %s is not a snapshot", o.ID)
	}
	return ""
}

// sharedOrphanReason is orphanReason for objects that several VMs may use: the loop device
// of a base, and boot files, which a stopped VM needs at its next start.
func sharedOrphanReason(o Object, vms []VM) string {
	switch o.Kind {
	case Loop:
		if !slices.ContainsFunc(vms, func(v VM) bool { return v.Snapshot && v.State != Stopped }) {
			return "no running VM has a snapshot as its disk"
		}
	case Boot:
		uses := func(v VM) bool { return slices.Contains(v.Boot, o.Name) }
		if !slices.ContainsFunc(vms, uses) {
			return "no VM boots from it"
		}
	default:
		return "its name does not contain the id of a VM"
	}
	return ""
}

// missing returns the objects that a running VM should have and lacks.
func missing(v VM, held map[Object]bool) []Finding {
	if v.State != Running {
		return nil
	}
	want := map[string]string{ // a kind's name
		Process: v.ID, Jail: v.ID, Netns: vmid.Netns(v.ID), Loop: vmid.Device(v.ID),
	}
	if !held[Object{Kind: Process, ID: v.ID}] { // a process of an older version has no unit of its own
		want[Unit] = vmid.Unit(v.ID)
	}
	if !v.NoNetwork {
		want[Link] = vmid.Link(v.ID)
	}
	if v.Snapshot {
		want[DM] = vmid.Device(v.ID)
	}
	var found []Finding
	for kind, name := range want {
		if !held[Object{Kind: kind, ID: v.ID}] {
			found = append(found, Finding{Object{kind, name, v.ID}, true, fmt.Sprintf("VM %s runs without it", v.ID)})
		}
	}
	return found
}
