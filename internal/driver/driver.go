// Package driver is the contract of VMM drivers: what starts a virtual machine
// and finds it again.
package driver

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"banger/internal/disk"
)

// ErrGone is what Recover returns when the machine no longer runs.
var ErrGone = errors.New("the VMM process is gone")

// Spec is all a driver needs to start a machine.
type Spec struct {
	ID  string // 12 lower-case hexadecimal digits
	Dir string // the VM's own directory; file names are in package paths

	VCPUs       int
	MemoryBytes int64

	Kernel    string // uncompressed kernel (ELF vmlinux)
	Initramfs string
	Cmdline   string // the guest's part; the driver adds console and devices

	Disk       string // path
	DiskFormat disk.Format

	Accel string // kvm, tcg, or empty for the driver's choice by Probe

	NoNetwork bool // the guest gets no network device
	Slot      int  // which user id and address are the VM's, in system mode

	// Timed, where it is set, is told how long a part of the start took.
	Timed func(part string, took time.Duration) `json:"-"`
}

// Capability is what a Probe found.
type Capability struct {
	Version string // of the VMM
	Accel   string // kvm or tcg
	Reason  string // why not kvm, where it is not
}

// Driver starts machines and finds them again.
//
// A failed or cancelled Start leaves nothing: no process, no socket. The
// machine does not end with the context of Start, nor with this process: it is
// a session of its own, and whatever it writes to outlives us. Start returns
// as soon as the VMM runs, not when the guest answers. It ends in Recover, so
// that recovery is exercised at every boot.
type Driver interface {
	Name() string
	// Probe says what the driver can do on this host; an error of kind
	// api.KindUnsupported says what is missing and how to get it. What takes
	// long is cached. kernel and initramfs are those of a probe boot; where they
	// are empty and nothing is cached, Probe answers without booting.
	Probe(ctx context.Context, kernel, initramfs string) (Capability, error)
	Start(ctx context.Context, spec Spec) (Machine, error)
	// Recover finds the machine of a VM again. handle is what Machine.Handle
	// returned once; it may be nil, stale or a lie, in which case the machine is
	// found by its id and dir alone. ErrGone says that it does not run.
	Recover(ctx context.Context, id, dir string, handle json.RawMessage) (Machine, error)
}

// Exit says how a VMM process ended.
type Exit struct {
	// Code is the exit status, or 128 plus the signal; -1 where it is not known,
	// as for a process that was started by an earlier daemon.
	Code int
	// Message is what the VMM last said on standard error, cut to a few lines.
	Message string
}

// Machine is one running VMM process, proven to be the VM's.
type Machine interface {
	PID() int
	Accel() string
	// Handle is what Recover can use later. It holds no secret.
	Handle() json.RawMessage
	// Done is closed when the process has ended; Exit is known then.
	Done() <-chan struct{}
	Exit() Exit
	// Kill ends the VMM at once and waits until it is gone. Idempotent.
	Kill(ctx context.Context) error
	// DialGuest connects to the agent's channel. Either it waits for the agent, as
	// long as ctx allows, or what is written is read once the agent is there; that
	// of a recovered machine may refuse until it is. One connection at a time.
	DialGuest(ctx context.Context) (net.Conn, error)
	// Release lets go of what this process holds for the machine (descriptors,
	// goroutines), which itself runs on.
	Release()
}

// Pauser is implemented by machines that can be paused.
type Pauser interface {
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
}

// Surveyor is a driver that can look for the machines of all VMs at once: Recover looks
// at each of the host's processes where a handle is of no use.
type Surveyor interface {
	// Survey returns the ids of the VMs that may have a machine; of others it is
	// certain that they have none.
	Survey() (mayRun map[string]bool, err error)
}

// Stander is implemented by machines whose VMM says whether their guest stands still.
type Stander interface {
	// Standing says why it does; empty: it does not.
	Standing(ctx context.Context) (why string, err error)
}

// Staller is implemented by machines that stand still when the host cannot write what
// their guest writes.
type Staller interface {
	Pauser
	// Stalled tells whether it does. Resume has it try again.
	Stalled(ctx context.Context) (bool, error)
}
