package api

import (
	"cmp"
	"regexp"
	"time"
)

// State is the state of a VM.
type State string

// The states of a VM. internal/vm holds the table of legal moves.
const (
	StateCreating State = "creating"
	StateStopped  State = "stopped"
	StateRunning  State = "running"
	StatePaused   State = "paused"
	// StateSuspended is that of a VM whose memory is on the host's disk: no VMM runs, and its next start
	// continues where it was.
	StateSuspended State = "suspended"
	StateFailed    State = "failed"
	StateDeleted   State = "deleted"
)

// StreamProtocol is the protocol to which a client upgrades the connection of a stream: raw bytes, in
// both directions, to a new channel of the guest's agent. The daemon does not interpret them.
const StreamProtocol = "banger-stream"

// LogOffsetHeader carries the offset in a console's log, in bytes, at which an answer begins, so that a
// client that is cut off can continue.
const LogOffsetHeader = "Banger-Log-Offset"

// The answer that opens a stream to a VM's agent identifies the VM. A client that opens
// another stream later requests it by the id: the name may be another VM's by then.
const (
	VMIDHeader   = "Banger-VM-ID"
	VMNameHeader = "Banger-VM-Name"
)

// A client that opens a stream for a forwarded connection says so: there may be so many of
// these that places are reserved for others.
const (
	CarriesHeader     = "Banger-Carries"
	CarriesConnection = "connection"
)

// A client that opens a stream which a user asks for says so: a suspended VM is started for it. A stream
// that is only taken up again waits until somebody starts the VM.
const (
	WakeHeader = "Banger-Wake"
	Wake       = "yes"
)

// VM is a sandbox.
type VM struct {
	ID     string `json:"id"`   // 12 lower-case hexadecimal digits, never changes
	Name   string `json:"name"` // a DNS label, unique, can be changed
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"` // why it is in this state, if that is not the ordinary reason, or what is wrong while it runs

	Image       string `json:"image"` // the name it was created from
	ImageDigest string `json:"image_digest"`
	// ImageConfig is the image's configuration at the VM's creation, without labels; nil if
	// the image had none.
	ImageConfig *ImageConfig `json:"image_config,omitempty"`

	Kernel       string `json:"kernel"` // the kernel's release
	KernelDigest string `json:"kernel_digest"`

	Driver      string `json:"driver"`
	Accel       string `json:"accel,omitempty"` // kvm or tcg, once started
	DiskDriver  string `json:"disk_driver"`
	VCPUs       int    `json:"vcpus"`
	MemoryBytes int64  `json:"memory_bytes"`
	DiskBytes   int64  `json:"disk_bytes"` // the size that its disk was made with
	// GrownBytes is the size that the disk has grown to since; 0 if it has not.
	GrownBytes int64 `json:"grown_bytes,omitempty"`
	// BaseDigest is the SHA-256 of the first MiB of the base, the file made from the image
	// to which the disk holds the changes; empty if the disk holds everything.
	BaseDigest string `json:"base_digest,omitempty"`

	// Network is NetworkNone, NetworkIsolated, or empty for a network of its own with access
	// to the outside.
	Network string `json:"network,omitempty"`
	// Address is its address for the host: in system mode, while it runs.
	Address string `json:"address,omitempty"`
	// Slot determines the VM's user id and address in system mode; 0 in user mode.
	Slot int `json:"slot,omitempty"`

	// Init is process 1 of the guest: InitAgent, InitSystemd, or InitAuto until its image has
	// been fetched. It is empty in the records of older versions, which had only the agent.
	Init string `json:"init,omitempty"`

	// Tools is what sets up the tools that a directory's files name, before commands of vm run:
	// ToolsMise, or empty for nothing.
	Tools string `json:"tools,omitempty"`

	// Background is the command that runs in the guest after each start; nil for none.
	Background *Background `json:"background,omitempty"`
	// Publish are the ports of the host that are forwarded to the VM while it runs.
	Publish []PublishedPort `json:"publish,omitempty"`

	// Labels are a user's own, by key. They mean nothing to banger.
	Labels map[string]string `json:"labels,omitempty"`
	// Next is what a running VM will have at its next start, as far as that differs; nil: what
	// it has. A VM that does not run has none.
	Next *NextStart `json:"next,omitempty"`

	// IdleSuspendSeconds is after how long without use it is suspended; 0: never.
	IdleSuspendSeconds int64 `json:"idle_suspend_seconds,omitempty"`
	// Hold keeps it awake; nil: nothing does.
	Hold *Hold `json:"hold,omitempty"`

	// AutoRemove deletes the VM when it stops (vm run --rm).
	AutoRemove bool `json:"auto_remove,omitempty"`
	// Leased deletes it also when no stream to its agent has been open for 30 seconds: its
	// client is gone.
	Leased bool `json:"leased,omitempty"`

	// Origin is the snapshot that it began with; nil: it began with its image.
	Origin *Origin `json:"origin,omitempty"`
	// Generation counts the snapshots that its memory has come through; 0: it was booted.
	Generation uint64 `json:"generation,omitempty"`

	CreatedAt time.Time  `json:"created_at"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	StoppedAt *time.Time `json:"stopped_at,omitempty"`

	PID    int    `json:"pid,omitempty"`     // of the VMM, while it runs
	BootID string `json:"boot_id,omitempty"` // the guest kernel's, while it runs

	// Timing holds how long each step of the latest start took.
	Timing []StepTiming `json:"timing,omitempty"`
	// DiskUsage is set if one VM is shown and its usage is known.
	DiskUsage *DiskUsage `json:"disk_usage,omitempty"`
	// Idle is set if one VM is shown that runs and is suspended after a time without use.
	Idle *Idle `json:"idle,omitempty"`
}

// Hold keeps a VM awake that would be suspended when nobody uses it.
type Hold struct {
	Until *time.Time `json:"until,omitempty"` // nil: until it is released
}

// Idle is when a VM is suspended because nobody uses it.
type Idle struct {
	SuspendsAt *time.Time `json:"suspends_at,omitempty"` // unless it is used before; nil while that is not known
	Awake      string     `json:"awake,omitempty"`       // what it was last used for
}

// DiskSize is the size of the VM's disk in bytes; 0 while it is not known.
func (v VM) DiskSize() int64 { return max(v.DiskBytes, v.GrownBytes) }

// The networks of a VM. A VM with NetworkNAT has an empty Network.
const (
	NetworkNAT      = "nat"      // it reaches the outside, by address translation
	NetworkIsolated = "isolated" // it reaches nothing beyond its gateway; the host reaches it
	NetworkNone     = "none"     // it has no network
)

// RecordedNetwork returns a VM's Network for a request's: that of a VM with NetworkNAT is empty.
func RecordedNetwork(requested string) string {
	if requested == NetworkNAT {
		return ""
	}
	return requested
}

// The values of Tools; a request's ToolsNone differs from an empty one, which is the default.
const (
	ToolsMise = "mise"
	ToolsNone = "none"
)

// NextStart is what a running VM will have at its next start. A zero value changes nothing.
type NextStart struct {
	VCPUs       int    `json:"vcpus,omitempty"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	DiskBytes   int64  `json:"disk_bytes,omitempty"`
	Network     string `json:"network,omitempty"` // NetworkNAT, NetworkIsolated or NetworkNone
	// DiskReason is why the disk has not grown while the VM runs; empty if it is about to.
	DiskReason string `json:"disk_reason,omitempty"`
}

// AtNextStart returns the VM with what it has at its next start.
func (v VM) AtNextStart() VM {
	n := v.Next
	if n == nil {
		return v
	}
	v.VCPUs, v.MemoryBytes, v.Next = cmp.Or(n.VCPUs, v.VCPUs), cmp.Or(n.MemoryBytes, v.MemoryBytes), nil
	if n.DiskBytes > v.DiskSize() {
		v.GrownBytes = n.DiskBytes
	}
	if n.Network != "" {
		v.Network = RecordedNetwork(n.Network)
	}
	return v
}

// The values of Init other than a program's path.
const (
	InitAgent   = "agent"   // banger's own agent, which runs no services
	InitSystemd = "systemd" // the image's /sbin/init, with the agent beside it
	InitAuto    = "auto"    // as the image requests
)

var initPath = regexp.MustCompile(`^(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$`)

// IsInitPath reports whether an Init is the path of a program of the image, which runs as
// process 1 with the agent beside it: a supervisor of a service.
func IsInitPath(init string) bool { return len(init) <= 200 && initPath.MatchString(init) }

// DiskUsage is how much a VM's disk occupies on the host.
type DiskUsage struct {
	UsedBytes  int64 `json:"used_bytes"`
	TotalBytes int64 `json:"total_bytes"` // the size at which it is full
	// Broken is why the disk can no longer be used; empty if it can.
	Broken string `json:"broken,omitempty"`
}

// HostObject is an object of the host that carries banger's names.
type HostObject struct {
	Kind string `json:"kind"` // unit, process, dm, loop, netns, link, jail
	Name string `json:"name"`
	ID   string `json:"id,omitempty"` // of the VM; empty: shared
}

// StepTiming is how long one step of an operation took.
type StepTiming struct {
	Step         string  `json:"step"` // "STEP/PART" is a part of the step before
	Milliseconds float64 `json:"ms"`
}

// CreateVM requests a new VM. A zero value means the configured default, or without one a
// choice based on the host's size.
type CreateVM struct {
	Name string `json:"name,omitempty"`
	// Profile is one of the settings: its values apply to what the request leaves out.
	Profile     string `json:"profile,omitempty"`
	Image       string `json:"image,omitempty"`
	Kernel      string `json:"kernel,omitempty"`
	Driver      string `json:"driver,omitempty"`
	VCPUs       int    `json:"vcpus,omitempty"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	DiskBytes   int64  `json:"disk_bytes,omitempty"`
	Network     string `json:"network,omitempty"` // NetworkNAT, NetworkIsolated or NetworkNone
	Init        string `json:"init,omitempty"`    // InitAgent, InitSystemd or InitAuto
	Tools       string `json:"tools,omitempty"`   // ToolsMise or ToolsNone
	AutoRemove  bool   `json:"auto_remove,omitempty"`
	// Lease deletes it also when no stream to its agent has been open for 30 seconds. It
	// needs AutoRemove.
	Lease bool `json:"lease,omitempty"`
	// Background runs in the guest after each start, if it or the image has a command.
	Background *Background `json:"background,omitempty"`
	// Publish are the ports of the host to forward to the VM while it runs. They replace those of
	// the settings.
	Publish []PublishedPort `json:"publish,omitempty"`
	// Labels are the user's own, at most 64.
	Labels map[string]string `json:"labels,omitempty"`
	// From is the snapshot to begin with. The VM then has the image, kernel, driver, sizes, network, init and
	// tools of the one that the snapshot was made of, and none of them can be chosen.
	From string `json:"from,omitempty"`
	// Start also starts it; the operation then ends when the guest answers.
	Start bool `json:"start,omitempty"`
	// Force starts it even if the running VMs would have more memory than the host.
	Force bool `json:"force,omitempty"`
}

// StartVM starts or restarts a VM.
type StartVM struct {
	// Force starts it even if the running VMs would have more memory than the host.
	Force bool `json:"force,omitempty"`
	// Cold boots a suspended VM from its disk, and drops its memory. Only a start has it.
	Cold bool `json:"cold,omitempty"`
}

// StopVM shuts a running VM down.
type StopVM struct {
	// GraceSeconds is how long the guest gets before the VMM is killed; 0 means
	// the configured default.
	GraceSeconds int `json:"grace_seconds,omitempty"`
}

// CommitVM creates an image from a stopped VM.
type CommitVM struct {
	Name string `json:"name"` // the image's; another image may have had it
}

// RenameVM gives a VM a new name.
type RenameVM struct {
	Name string `json:"name"`
}

// SetVM changes a VM. A nil field changes nothing. Of a VM that runs, labels and published ports
// change at once, its disk if the VMM can grow it, and the rest at its next start (VM.Next).
type SetVM struct {
	VCPUs       *int    `json:"vcpus,omitempty"`
	MemoryBytes *int64  `json:"memory_bytes,omitempty"`
	DiskBytes   *int64  `json:"disk_bytes,omitempty"` // no less than it has
	Network     *string `json:"network,omitempty"`    // NetworkNAT, NetworkIsolated or NetworkNone
	// Publish are all the ports to publish from now on; empty, but not nil: none.
	Publish *[]PublishedPort `json:"publish,omitempty"`
	// Labels are added to those of the VM, or replace them.
	Labels map[string]string `json:"labels,omitempty"`
	// RemoveLabels are keys of labels to remove. That there is none is not an error.
	RemoveLabels []string `json:"remove_labels,omitempty"`
	// IdleSuspendSeconds is after how long without use the VM is suspended: MinIdleSuspend or more, or 0
	// for never.
	IdleSuspendSeconds *int64 `json:"idle_suspend_seconds,omitempty"`
	// Hold keeps it awake, or no longer.
	Hold *HoldVM `json:"hold,omitempty"`
}

// MinIdleSuspend is the shortest time in seconds after which a VM is suspended.
const MinIdleSuspend = 10

// HoldVM keeps a VM awake that would be suspended when nobody uses it.
type HoldVM struct {
	Seconds int64 `json:"seconds,omitempty"` // for how long; 0: until it is released
	Release bool  `json:"release,omitempty"` // it is held no longer
}

// Empty reports whether the request changes nothing.
func (r SetVM) Empty() bool {
	return r.VCPUs == nil && r.MemoryBytes == nil && r.DiskBytes == nil && r.Network == nil && r.Publish == nil &&
		len(r.Labels) == 0 && len(r.RemoveLabels) == 0 && r.IdleSuspendSeconds == nil && r.Hold == nil
}

// VMList answers GET /v1/vms, oldest first.
type VMList struct {
	VMs []VM `json:"vms"`
}

// Pruned is what a prune removed.
type Pruned struct {
	Removed        []string `json:"removed"` // names or digests
	ReclaimedBytes int64    `json:"reclaimed_bytes"`
	// Items are what Removed names, with their sizes; none from older daemons, and of VMs.
	Items []PrunedItem `json:"items,omitempty"`
}

// PrunedItem is one thing that a prune removes.
type PrunedItem struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"` // that it occupies on the disk
}

// Add adds a thing that is removed.
func (p *Pruned) Add(name string, bytes int64) {
	p.Removed = append(p.Removed, name)
	p.ReclaimedBytes += bytes
	p.Items = append(p.Items, PrunedItem{name, bytes})
}

// SyncedFiles answers POST /v1/vms/{vm}/sync.
type SyncedFiles struct {
	VM    string       `json:"vm"`
	Files []SyncedFile `json:"files"`
}

// SyncedFile is what became of one entry of the settings file_sync and dotfiles, or of
// git_identity.
type SyncedFile struct {
	Host     string   `json:"host"`  // as in the settings, or git_identity
	Guest    string   `json:"guest"` // the path in the guest
	Result   string   `json:"result"`
	Reason   string   `json:"reason,omitempty"` // why it was not copied
	Warnings []string `json:"warnings,omitempty"`
}

// The results of a copy into a guest.
const (
	SyncCopied  = "copied"  // or there already
	SyncMissing = "missing" // on the host
	SyncKept    = "kept"    // the guest's own file was not replaced
	SyncFailed  = "failed"
)

// Background is a command that runs in a guest without a client. The image's
// configuration completes it.
type Background struct {
	Argv       []string `json:"argv,omitempty"`       // replaces the image's Cmd
	Entrypoint *string  `json:"entrypoint,omitempty"` // replaces its Entrypoint and Cmd; an empty string removes them
	Env        []string `json:"env,omitempty"`
	Dir        string   `json:"dir,omitempty"`
	User       string   `json:"user,omitempty"`
}

// Exec is a command to run in a guest.
type Exec struct {
	// Argv is the command; empty means the user's login shell.
	Argv []string `json:"argv,omitempty"`
	Env  []string `json:"env,omitempty"` // NAME=value, added to the guest's defaults
	Dir  string   `json:"dir,omitempty"` // empty means the home directory
	// User is "name", "uid", "name:group" or "uid:gid"; empty means root.
	User string `json:"user,omitempty"`
	// MakeDir creates Dir if it is missing, as for an image's WorkingDir.
	MakeDir bool `json:"make_dir,omitempty"`
	// StopSignal is the number of the signal that asks the command to end when the guest or
	// the client ends; 0 means SIGHUP.
	StopSignal int `json:"stop_signal,omitempty"`
	// Main makes it the guest's main command: the session ends once it has started, its
	// output goes to the console, and later ones of the same boot do nothing.
	Main bool `json:"main,omitempty"`
	// TTY runs it on a pseudo-terminal of the given size.
	TTY  bool   `json:"tty,omitempty"`
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
}
