package api

import "time"

// Snapshot is a VM at one moment: its memory, its devices and its disk. Other VMs begin with it.
type Snapshot struct {
	ID        string    `json:"id"`   // 12 lower-case hexadecimal digits
	Name      string    `json:"name"` // a DNS label, unique; empty for a temporary one
	VM        string    `json:"vm"`   // the name of the VM then
	VMID      string    `json:"vm_id"`
	CreatedAt time.Time `json:"created_at"`

	Image       string `json:"image"`
	ImageDigest string `json:"image_digest"`
	Driver      string `json:"driver"`
	Accel       string `json:"accel,omitempty"`
	VCPUs       int    `json:"vcpus"`
	MemoryBytes int64  `json:"memory_bytes"`
	DiskBytes   int64  `json:"disk_bytes"`

	// UsedBytes is what it occupies on the host.
	UsedBytes int64 `json:"used_bytes"`
	// PausedMilliseconds is for how long the VM stood still.
	PausedMilliseconds int64 `json:"paused_ms"`
	// Temporary: it was made for forks, and is removed after them.
	Temporary bool `json:"temporary,omitempty"`
}

// SnapshotUser is what a snapshot's name follows where the users of an image or a kernel are listed, beside the names
// of VMs.
const SnapshotUser = "snapshot "

// SnapshotVM requests a snapshot of a running VM.
type SnapshotVM struct {
	Name string `json:"name,omitempty"` // empty: one is made up
	// Temporary: it has no name, and is removed an hour later at the latest, once another one is made.
	Temporary bool `json:"temporary,omitempty"`
}

// SnapshotList answers GET /v1/snapshots, oldest first.
type SnapshotList struct {
	Snapshots []Snapshot `json:"snapshots"`
}

// Origin is the snapshot that a VM began with.
type Origin struct {
	Snapshot string    `json:"snapshot"` // its id
	Name     string    `json:"name,omitempty"`
	VM       string    `json:"vm"` // the name of the VM that it was made of
	TakenAt  time.Time `json:"taken_at"`
	// Steps are what made the VM another one than that, in its guest; nil until it has continued.
	Steps []OriginStep `json:"steps,omitempty"`
}

// OriginStep is one of the things by which a VM differs from the one that its snapshot was made of.
type OriginStep struct {
	Name   string `json:"name"`
	State  string `json:"state"` // done, skipped or failed
	Detail string `json:"detail,omitempty"`
}
