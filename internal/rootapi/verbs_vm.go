package rootapi

import (
	"regexp"

	"banger/api"
)

// The VMMs.
const (
	Firecracker = "firecracker"
	QEMU        = "qemu"
)

// VMStartCall starts the VMM of a VM whose disk and network are attached.
// Files: the console's log and the VMM's own, both open for appending.
type VMStartCall struct {
	VM
	Slot      int    `json:"slot"`
	VMM       string `json:"vmm"`
	Accel     string `json:"accel"` // kvm or tcg; Firecracker has kvm only
	VCPUs     int    `json:"vcpus"`
	MemoryMiB int64  `json:"memory_mib"`
	Kernel    string `json:"kernel"`    // digests of stored files
	Initramfs string `json:"initramfs"` //
	Cmdline   string `json:"cmdline"`   // the guest kernel's
	NoNetwork bool   `json:"no_network,omitempty"`
}

// Verb implements Call.
func (VMStartCall) Verb() Verb { return VMStart }

// Printable ASCII without the quote and the backslash: it becomes an argument of QEMU and a
// string in Firecracker's configuration.
var cmdline = regexp.MustCompile(`^[ !#-\[\]-~]*$`)

// Validate implements Call.
func (c VMStartCall) Validate() error {
	switch {
	case c.VMM != Firecracker && c.VMM != QEMU:
		return refuse("unknown VMM %.40q", c.VMM)
	case c.Accel != "kvm" && (c.Accel != "tcg" || c.VMM == Firecracker):
		return refuse("%s has no accelerator %.40q", c.VMM, c.Accel)
	case c.VCPUs < 1 || c.VCPUs > MaxVCPUs:
		return refuse("a VM cannot have %d vCPUs", c.VCPUs)
	case c.MemoryMiB < 1 || c.MemoryMiB > MaxMemoryMiB:
		return refuse("a VM cannot have %d MiB of memory", c.MemoryMiB)
	case !digest.MatchString(c.Kernel) || !digest.MatchString(c.Initramfs):
		return refuse("the kernel or the initramfs is not named by a SHA-256 digest")
	case len(c.Cmdline) > MaxCmdline || !cmdline.MatchString(c.Cmdline):
		return refuse("the kernel command line has %d bytes, or contains a character that is not allowed", len(c.Cmdline))
	}
	return validSlot(c.VM, c.Slot)
}

// Files implements Call.
func (VMStartCall) Files() (least, most int) { return 2, 2 }

// Process is a VMM's process, proven to be the VM's. Its pidfd comes with the answer, and after
// VMStart of a machine that has one a listening socket, to which the guest's agent connects
// once when it is ready.
type Process struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // field 22 of /proc/PID/stat
	BootID    string `json:"boot_id"`    // of the host
	VMM       string `json:"vmm"`
	Accel     string `json:"accel"`
	// Found reports that it was already running: an earlier request started it.
	Found bool `json:"found,omitempty"`
	// Timing is how long the parts of the start took.
	Timing []api.StepTiming `json:"timing,omitempty"`
}

// VMFindCall finds the VMM's process. Hint may be outdated or false.
type VMFindCall struct {
	VM
	Hint Process `json:"hint"`
}

// Verb implements Call.
func (VMFindCall) Verb() Verb { return VMFind }

// Files implements Call.
func (VMFindCall) Files() (least, most int) { return none() }

// VMFindAnswer has the process, or nil if none runs.
type VMFindAnswer struct {
	Process *Process `json:"process"`
}

// VMKillCall kills the VMM and waits until it has ended. With a signal it only sends that to the
// VMM's process, if one runs.
type VMKillCall struct {
	VM
	Signal api.Signal `json:"signal,omitempty"`
}

// Verb implements Call.
func (VMKillCall) Verb() Verb { return VMKill }

// Validate implements Call.
func (c VMKillCall) Validate() error {
	if _, ok := c.Signal.Number(); c.Signal != "" && !ok {
		return refuse("%.40q is not a signal that ends a VMM", string(c.Signal))
	}
	return c.VM.Validate()
}

// Files implements Call.
func (VMKillCall) Files() (least, most int) { return none() }

// VMReleaseCall removes all objects of the host of a VM that is not running: its unit, jail,
// network and block device. It is refused while the VM runs.
type VMReleaseCall struct{ VM }

// Verb implements Call.
func (VMReleaseCall) Verb() Verb { return VMRelease }

// Files implements Call.
func (VMReleaseCall) Files() (least, most int) { return none() }

// The sockets of a VMM.
const (
	SocketAgent = "agent" // the guest's agent: Firecracker's vsock, QEMU's port
	SocketAPI   = "api"   // Firecracker's API, QEMU's monitor
)

// VMDialCall connects to a socket of the VM's VMM. The connection comes with the
// answer.
type VMDialCall struct {
	VM
	Socket string `json:"socket"`
}

// Verb implements Call.
func (VMDialCall) Verb() Verb { return VMDial }

// Validate implements Call.
func (c VMDialCall) Validate() error {
	if c.Socket != SocketAgent && c.Socket != SocketAPI {
		return refuse("unknown socket %.40q of a VMM", c.Socket)
	}
	return c.VM.Validate()
}

// Files implements Call.
func (VMDialCall) Files() (least, most int) { return none() }
