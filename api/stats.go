package api

import "time"

// VMStats is what a VM uses, at one moment. What is unknown is nil.
type VMStats struct {
	ID    string `json:"id,omitempty"` // empty if no VM has that name
	Name  string `json:"name"`         // as requested, if no VM has that name
	State State  `json:"state,omitempty"`
	// Doing is the operation in progress on the VM, such as "starting".
	Doing string `json:"doing,omitempty"`
	// Reason is why the VM is in its state, or what is wrong while it runs.
	Reason string `json:"reason,omitempty"`
	// Error is why Guest is unknown, or, without an ID, why the VM is.
	Error *Error `json:"error,omitempty"`

	VCPUs     int        `json:"vcpus,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"`

	Host  *HostStats  `json:"host,omitempty"` // nil while no VMM runs
	Disk  *DiskUsage  `json:"disk,omitempty"`
	Base  *DiskBase   `json:"base,omitempty"`
	Guest *GuestStats `json:"guest,omitempty"` // nil if the guest did not answer
}

// HostStats is what a VM's VMM uses of the host.
type HostStats struct {
	PID int `json:"pid"`
	// CPUNS is the processor time of the VMM since its start, and ClockNS the host's monotonic
	// clock (CLOCK_MONOTONIC of clock_gettime(2)) when it was read, both in ns: two looks give
	// the share. nil if it could not be read.
	CPUNS   *int64 `json:"cpu_ns,omitempty"`
	ClockNS int64  `json:"clock_ns"`
	// Memory is nil if it could not be read.
	Memory *HostMemory `json:"memory,omitempty"`
}

// HostMemory is the memory that a VMM takes of the host.
type HostMemory struct {
	Bytes int64 `json:"bytes"`
	// Source is MemoryPSS or MemoryCgroup.
	Source string `json:"source"`
	// AgeMS is how long ago it was measured: for a large VM that takes the kernel milliseconds,
	// so it is not repeated at each look.
	AgeMS int64 `json:"age_ms,omitempty"`
}

// The sources of HostMemory.
const (
	// MemoryPSS is the proportional set size (/proc/PID/smaps_rollup, proc_pid_smaps(5)): pages
	// that several processes share count in parts.
	MemoryPSS = "pss"
	// MemoryCgroup is the charge of the VM's unit (memory.current, cgroups(7)). It includes cached
	// pages of files, which the kernel takes back when it needs them.
	MemoryCgroup = "cgroup"
)

// DiskBase is the file to which a VM's disk holds the changes.
type DiskBase struct {
	Image  string `json:"image"`  // the name that the VM was created from
	Digest string `json:"digest"` // of the image
	Bytes  int64  `json:"bytes"`  // that it occupies on the host, once for all VMs that share it
}

// GuestStats is what the guest's agent says. The guest may say anything.
type GuestStats struct {
	UptimeSeconds   float64       `json:"uptime_seconds"`
	Load            []float64     `json:"load"` // averages of 1, 5 and 15 minutes
	MemoryBytes     int64         `json:"memory_bytes"`
	MemoryUsedBytes int64         `json:"memory_used_bytes"`
	Sessions        int           `json:"sessions"`
	Network         *GuestNetwork `json:"network,omitempty"` // nil: an older agent
	Disk            *GuestDisk    `json:"disk,omitempty"`    // nil: an older agent
	// AgeMS is how old the answer is: it came too late for the look that asked.
	AgeMS int64 `json:"age_ms,omitempty"`
}

// GuestNetwork is the guest's network device, and what has passed it since the guest's start.
type GuestNetwork struct {
	Device    string `json:"device,omitempty"` // empty if there is none
	Up        bool   `json:"up"`               // it is configured up, and has a carrier
	RxBytes   int64  `json:"rx_bytes"`
	RxPackets int64  `json:"rx_packets"`
	TxBytes   int64  `json:"tx_bytes"`
	TxPackets int64  `json:"tx_packets"`
}

// GuestDisk is the root file system as the guest sees it.
type GuestDisk struct {
	Bytes          int64 `json:"bytes"`
	AvailableBytes int64 `json:"available_bytes"`
}

// StatsList answers GET /v1/stats: in the order of the request, or oldest first.
type StatsList struct {
	At    time.Time `json:"at"`
	Stats []VMStats `json:"stats"`
}

// CPUPercent returns the share of one core that the VMM has used between two looks; ok reports
// whether it is known.
func (s VMStats) CPUPercent(before VMStats) (percent float64, ok bool) {
	a, b := before.Host, s.Host
	if a == nil || b == nil || a.CPUNS == nil || b.CPUNS == nil || a.PID != b.PID || before.ID != s.ID || b.ClockNS <= a.ClockNS {
		return 0, false
	}
	return 100 * float64(max(0, *b.CPUNS-*a.CPUNS)) / float64(b.ClockNS-a.ClockNS), true
}

// The names of the parts of a VMHealth.
const (
	PartVMM     = "vmm"
	PartLink    = "link"
	PartAgent   = "agent"
	PartClock   = "clock"
	PartDisk    = "disk"
	PartNetwork = "network"
)

// The statuses of a VMPart.
const (
	PartOK      = "ok"
	PartWrong   = "wrong"
	PartUnknown = "unknown" // another part has to be right first, or the agent is older
)

// VMPart is how one part of a VM is.
type VMPart struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Found  string `json:"found"`
	Fix    string `json:"fix,omitempty"` // what to type
}

// VMHealth answers GET /v1/vms/{vm}/health.
type VMHealth struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Well  bool     `json:"well"` // no part is wrong
	Parts []VMPart `json:"parts"`
}
