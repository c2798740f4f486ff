// Package rootapi is the privilege contract of system mode: the requests that the owner's
// daemon may send to bangerd-root, as a closed list of types.
//
// A request contains a VM's id and typed numbers. It has no path, no shell text and no list of
// arguments: the helper derives every path, device, user id and unit from the id (package
// vmid). Files are passed as descriptors. Every verb is idempotent, and removing an absent
// object succeeds: the helper has no state, and a caller without an answer asks again.
package rootapi

import (
	"net/netip"
	"regexp"

	"banger/api"
	"banger/internal/vmid"
)

// Verb is the name of a request.
type Verb string

// The verbs. docs/privileges.md documents what each can do; a test compares the two.
const (
	Hello      Verb = "hello"       // identify the helper
	DiskAttach Verb = "disk-attach" // create the VM's block device from files
	DiskStatus Verb = "disk-status" // how full the disk is
	NetAttach  Verb = "net-attach"  // create the VM's network namespace and its link
	BootPut    Verb = "boot-put"    // store a kernel or initramfs under its digest
	VMStart    Verb = "vm-start"    // start the VMM in its jail
	VMFind     Verb = "vm-find"     // find the VMM's process and prove it
	VMKill     Verb = "vm-kill"     // end it
	VMRelease  Verb = "vm-release"  // remove all objects of the host of a VM that is not running
	VMDial     Verb = "vm-dial"     // connect to one of the VMM's sockets
	List       Verb = "list"        // list every object of the host that carries banger's names
	Names      Verb = "names"       // give running VMs names on the host; hand out the sockets for their questions
	Check      Verb = "check"       // report what the host can do, for the doctor
	Clear      Verb = "clear"       // remove what all VMs share: the firewall's table, the names' link, stored boot files
)

// Call is a request's content.
type Call interface {
	Verb() Verb
	// Validate refuses invalid content before the helper uses any of it.
	Validate() error
	// Files returns the minimum and maximum number of descriptors of the request.
	Files() (least, most int)
}

// The limits of a request's content.
const (
	// Slots is the maximum number of VMs: each has a slot number from 1 on, which determines
	// its user id and address.
	Slots = 16384
	// MaxCmdline is the size that the kernel reads of its command line on x86-64
	// (COMMAND_LINE_SIZE, arch/x86/include/asm/setup.h), less the final NUL.
	MaxCmdline = 2047
	// MaxVCPUs is Firecracker's limit (MAX_SUPPORTED_VCPUS).
	MaxVCPUs = 32
	// MaxMemoryMiB is 4 TiB, the limit of every VM.
	MaxMemoryMiB = 4 << 20
)

// VM identifies a VM, and is the whole content of most requests.
type VM struct {
	ID string `json:"id"`
}

// Validate implements Call.
func (v VM) Validate() error {
	if !vmid.Valid(v.ID) {
		return refuse("%.40q is not a VM's id", v.ID)
	}
	return nil
}

func refuse(format string, args ...any) error { return api.Errorf(api.KindInvalid, format, args...) }

func none() (least, most int) { return 0, 0 }

// HelloCall requests the helper's identity. Every request contains the caller's version.
type HelloCall struct{}

// Verb implements Call.
func (HelloCall) Verb() Verb { return Hello }

// Validate implements Call.
func (HelloCall) Validate() error { return nil }

// Files implements Call.
func (HelloCall) Files() (least, most int) { return none() }

// HelloAnswer identifies the helper.
type HelloAnswer struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// OwnerUID is the user that may use the helper, in addition to root.
	OwnerUID int `json:"owner_uid"`
	// Outer is the prefix of the VMs' addresses on the host's side.
	Outer netip.Prefix `json:"outer"`
}

// The modes of a VM's disk.
const (
	Snapshot = "snapshot" // device-mapper snapshot of a base file; files: base, copy-on-write
	Plain    = "plain"    // the VM's own file; files: that file
)

// DiskAttachCall creates the VM's block device from the files that come with it.
type DiskAttachCall struct {
	VM
	Mode string `json:"mode"`
}

// Verb implements Call.
func (DiskAttachCall) Verb() Verb { return DiskAttach }

// Validate implements Call.
func (c DiskAttachCall) Validate() error {
	if c.Mode != Snapshot && c.Mode != Plain {
		return refuse("unknown disk mode %.40q", c.Mode)
	}
	return c.VM.Validate()
}

// Files implements Call.
func (c DiskAttachCall) Files() (least, most int) {
	if c.Mode == Snapshot {
		return 2, 2
	}
	return 1, 1
}

// Device is a block device.
type Device struct {
	Name  string `json:"name"`
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
}

// DiskStatusCall requests how full a copy-on-write file is.
type DiskStatusCall struct{ VM }

// Verb implements Call.
func (DiskStatusCall) Verb() Verb { return DiskStatus }

// Files implements Call.
func (DiskStatusCall) Files() (least, most int) { return none() }

// DiskUsage is how full a copy-on-write file is.
type DiskUsage struct {
	UsedBytes  int64 `json:"used_bytes"`
	TotalBytes int64 `json:"total_bytes"`
	// Broken is why the disk can no longer be used; empty if it can.
	Broken string `json:"broken,omitempty"`
}

// NetAttachCall creates the VM's network namespace.
type NetAttachCall struct {
	VM
	Slot int `json:"slot"`
	// None requests a namespace without any link.
	None bool `json:"none,omitempty"`
	// Isolated requests a network in which the guest reaches nothing beyond its gateway.
	Isolated bool `json:"isolated,omitempty"`
}

// Verb implements Call.
func (NetAttachCall) Verb() Verb { return NetAttach }

// Validate implements Call.
func (c NetAttachCall) Validate() error {
	if c.None && c.Isolated {
		return refuse("VM %.40q cannot be both without a network and isolated", c.ID)
	}
	return validSlot(c.VM, c.Slot)
}

// Files implements Call.
func (NetAttachCall) Files() (least, most int) { return none() }

func validSlot(v VM, slot int) error {
	if slot < 1 || slot >= Slots {
		return refuse("VM %.40q cannot have slot %d", v.ID, slot)
	}
	return v.Validate()
}

var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// BootPutCall stores a copy of a file that VMs boot from, after its digest was checked. A file
// that is already stored is not read. File: the content, at most one; without it the answer
// only reports whether the file is stored.
type BootPutCall struct {
	Digest string `json:"digest"` // SHA-256, 64 lower-case hexadecimal digits
}

// Verb implements Call.
func (BootPutCall) Verb() Verb { return BootPut }

// Validate implements Call.
func (c BootPutCall) Validate() error {
	if !digest.MatchString(c.Digest) {
		return refuse("%.80q is not a SHA-256 digest", c.Digest)
	}
	return nil
}

// Files implements Call.
func (BootPutCall) Files() (least, most int) { return 0, 1 }

// BootPutAnswer reports whether the file is stored now.
type BootPutAnswer struct {
	Kept bool `json:"kept"`
}

// ListCall requests every object of the host that carries banger's names.
type ListCall struct{}

// Verb implements Call.
func (ListCall) Verb() Verb { return List }

// Validate implements Call.
func (ListCall) Validate() error { return nil }

// Files implements Call.
func (ListCall) Files() (least, most int) { return none() }

// The kinds of objects.
const (
	KindUnit    = "unit"
	KindProcess = "process"
	KindDM      = "dm"
	KindLoop    = "loop"
	KindNetns   = "netns"
	KindLink    = "link"
	KindJail    = "jail"
)

// Object is an object of the host.
type Object struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	ID   string `json:"id,omitempty"` // of the VM; empty: shared
}

// ListAnswer has the objects, sorted.
type ListAnswer struct {
	Objects []Object `json:"objects"`
}

// CheckCall requests what the host can do.
type CheckCall struct {
	Network bool `json:"network,omitempty"` // also check the firewall, which takes longer
}

// Verb implements Call.
func (CheckCall) Verb() Verb { return Check }

// Validate implements Call.
func (CheckCall) Validate() error { return nil }

// Files implements Call.
func (CheckCall) Files() (least, most int) { return none() }

// CheckAnswer reports what the host can do; an empty text means that it can.
type CheckAnswer struct {
	DeviceMapper string      `json:"device_mapper,omitempty"` // why it cannot be used
	KVM          string      `json:"kvm,omitempty"`           // why it cannot be used
	Firecracker  VMMCheck    `json:"firecracker"`
	QEMU         VMMCheck    `json:"qemu"`
	Network      []api.Check `json:"network"`
}

// VMMCheck describes the VMM of the host.
type VMMCheck struct {
	Version  string   `json:"version,omitempty"` // empty: none is usable
	Reason   string   `json:"reason,omitempty"`  // why none is usable
	Hint     string   `json:"hint,omitempty"`    // what to type
	Warnings []string `json:"warnings,omitempty"`
	Path     string   `json:"path,omitempty"`   // Firecracker's program that is used
	Jailer   string   `json:"jailer,omitempty"` // its jailer's
}

// NamesCall makes the link and the address for questions about VMs' names, and has
// systemd-resolved, if it runs, send those questions there.
type NamesCall struct {
	// Sockets requests the sockets to answer on. They come with the answer: UDP, then TCP.
	Sockets bool `json:"sockets,omitempty"`
}

// Verb implements Call.
func (NamesCall) Verb() Verb { return Names }

// Validate implements Call.
func (NamesCall) Validate() error { return nil }

// Files implements Call.
func (NamesCall) Files() (least, most int) { return none() }

// NamesAnswer reports whether VMs have names on the host.
type NamesAnswer struct {
	// Outer is the prefix of the VMs' addresses on the host's side.
	Outer netip.Prefix `json:"outer"`
	// Link is the index of the link. Sockets from before it changed receive nothing.
	Link int `json:"link"`
	// Problem is why the host's resolver does not send questions about VMs; empty if it does.
	Problem string `json:"problem,omitempty"`
	// Absent reports that the problem is that systemd-resolved does not run: nothing was
	// changed, and another resolver can be set up by hand.
	Absent bool `json:"absent,omitempty"`
	// Taken are the domains of VMs' names that another link has too, as DOMAIN on LINK.
	Taken []string `json:"taken,omitempty"`
}

// ClearCall removes the objects that all VMs share, before an uninstallation: the firewall's
// table, the link for VMs' names and the stored boot files. It is refused while a VM runs.
type ClearCall struct{}

// Verb implements Call.
func (ClearCall) Verb() Verb { return Clear }

// Validate implements Call.
func (ClearCall) Validate() error { return nil }

// Files implements Call.
func (ClearCall) Files() (least, most int) { return none() }

// Calls returns one call of each verb, for tests and documentation.
func Calls() []Call {
	return []Call{
		HelloCall{}, DiskAttachCall{Mode: Snapshot}, DiskStatusCall{}, NetAttachCall{},
		BootPutCall{}, VMStartCall{}, VMFindCall{}, VMKillCall{}, VMReleaseCall{}, VMDialCall{}, ListCall{}, CheckCall{}, NamesCall{}, ClearCall{},
	}
}
