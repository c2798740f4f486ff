// Package driver is the contract of VMM drivers, which start virtual machines and find them
// again.
package driver

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"banger/api"
	"banger/internal/disk"
)

// ErrGone is the error of Recover if the machine is not running any more.
var ErrGone = errors.New("the VMM process is gone")

// Spec is what a driver needs to start a machine.
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
	// Isolated: the guest reaches nothing by its network device. In system mode the network
	// namespace sees to that (vm.Host).
	Isolated bool
	Slot     int // determines the VM's user id and address in system mode

	// Timed, unless nil, is called with the duration of each part of the start.
	Timed func(part string, took time.Duration) `json:"-"`
}

// Capability is the result of a Probe.
type Capability struct {
	Version string // of the VMM
	Accel   string // kvm or tcg
	Reason  string // why Accel is not kvm, if it is not
}

// Driver starts machines and finds them again.
//
// A failed or cancelled Start leaves nothing: no process, no socket. The machine does not end
// with the context of Start, nor with this process: it is a session of its own, and the files
// that it writes to outlive this process. Start returns as soon as the VMM runs, not when the
// guest answers. Start ends with the code of Recover, so that recovery is exercised at every
// boot.
type Driver interface {
	Name() string
	// Probe reports what the driver can do on this host; an error of kind
	// api.KindUnsupported says what is missing and how to get it. Slow results are cached.
	// kernel and initramfs are for a probe boot; if they are empty and nothing is cached,
	// Probe answers without booting.
	Probe(ctx context.Context, kernel, initramfs string) (Capability, error)
	Start(ctx context.Context, spec Spec) (Machine, error)
	// Recover finds the machine of a VM again. handle is an earlier result of
	// Machine.Handle; it may be nil, outdated or false: then the machine is found by its id
	// and dir alone. Recover returns ErrGone if the machine is not running.
	Recover(ctx context.Context, id, dir string, handle json.RawMessage) (Machine, error)
}

// Exit is how a VMM process ended.
type Exit struct {
	// Code is the exit status, or 128 plus the signal; -1 if unknown, as for a process that
	// an earlier daemon started.
	Code int
	// Message is the end of the VMM's standard error, at most a few lines.
	Message string
}

// Machine is one running VMM process, proven to be the VM's.
type Machine interface {
	PID() int
	Accel() string
	// Handle returns a handle for a later Recover. It contains no secret.
	Handle() json.RawMessage
	// Done is closed when the process has ended and Exit is known.
	Done() <-chan struct{}
	Exit() Exit
	// Kill kills the VMM and waits until it has ended. It is idempotent.
	Kill(ctx context.Context) error
	// DialGuest connects to the agent's channel, one connection at a time. Either it waits
	// for the agent until ctx ends, or the agent reads written bytes once it runs; the
	// channel of a recovered machine may refuse connections until then.
	DialGuest(ctx context.Context) (net.Conn, error)
	// Release frees this process's resources for the machine (descriptors, goroutines).
	// The machine itself keeps running.
	Release()
}

// Pauser is implemented by machines that can be paused.
type Pauser interface {
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
}

// Signaler is implemented by machines whose VMM can be sent a signal.
type Signaler interface {
	// Signal sends the signal to the VMM's process and does not wait for its end. It returns ErrGone if
	// the process has ended.
	Signal(ctx context.Context, sig api.Signal) error
}

// Meter is implemented by machines whose use of the host can be measured.
type Meter interface {
	// CPUTime returns the processor time of the VMM since its start, and the host's monotonic clock
	// at that moment.
	CPUTime() (used, clock time.Duration, err error)
	// Memory returns the memory that the VMM takes of the host, in bytes, and how that was measured:
	// api.MemoryPSS or api.MemoryCgroup.
	Memory() (bytes int64, source string, err error)
	// Suspended reports whether a signal has suspended the VMM's process (SIGSTOP).
	Suspended() bool
}

// Surveyor is a driver that can search for the machines of all VMs at once: without a valid
// handle, Recover has to examine each of the host's processes.
type Surveyor interface {
	// Survey returns the ids of the VMs that may have a machine; all others certainly have
	// none.
	Survey() (mayRun map[string]bool, err error)
}

// Stander is implemented by machines whose VMM reports whether the guest is stopped.
type Stander interface {
	// Standing returns why the guest is stopped, or "" if it runs.
	Standing(ctx context.Context) (why string, err error)
}

// Staller is implemented by machines that stop when the host cannot write their guest's
// data.
type Staller interface {
	Pauser
	// Stalled reports whether the machine is stopped for that reason. Resume makes it retry.
	Stalled(ctx context.Context) (bool, error)
}

// Grower is implemented by machines whose disk can be made larger while they run.
type Grower interface {
	// GrowDisk makes the disk that many bytes long, for the guest too. It can be repeated.
	GrowDisk(ctx context.Context, bytes int64) error
}
