package store

import (
	"time"

	"banger/api"
)

// rowVersion is the version of the rows that this banger writes. Rows of version 0 are older
// than versions; they have the same fields.
const rowVersion = 1

// vmRow is a VM as it is stored. It is a type of its own, so that what clients are told can
// change without a migration: api.VM also has what is only known while it is asked (process,
// address, usage of the disk), and that is not stored. Names of fields are never used again for
// something else, and an older banger that reads a row leaves the fields that it does not know.
type vmRow struct {
	Version int `json:"version"`

	ID     string    `json:"id"`
	Name   string    `json:"name"`
	State  api.State `json:"state"`
	Reason string    `json:"reason,omitempty"`

	Image        string           `json:"image"`
	ImageDigest  string           `json:"image_digest"`
	ImageConfig  *api.ImageConfig `json:"image_config,omitempty"`
	Kernel       string           `json:"kernel"`
	KernelDigest string           `json:"kernel_digest"`

	Driver      string `json:"driver"`
	Accel       string `json:"accel,omitempty"`
	DiskDriver  string `json:"disk_driver"`
	VCPUs       int    `json:"vcpus"`
	MemoryBytes int64  `json:"memory_bytes"`
	DiskBytes   int64  `json:"disk_bytes"`
	GrownBytes  int64  `json:"grown_bytes,omitempty"`
	BaseDigest  string `json:"base_digest,omitempty"`
	Network     string `json:"network,omitempty"`
	Slot        int    `json:"slot,omitempty"`

	Init       string              `json:"init,omitempty"`
	Tools      string              `json:"tools,omitempty"`
	Background *api.Background     `json:"background,omitempty"`
	Publish    []api.PublishedPort `json:"publish,omitempty"`
	Labels     map[string]string   `json:"labels,omitempty"`
	Next       *api.NextStart      `json:"next,omitempty"`
	AutoRemove bool                `json:"auto_remove,omitempty"`
	Leased     bool                `json:"leased,omitempty"`

	IdleSuspendSeconds int64     `json:"idle_suspend_seconds,omitempty"`
	Hold               *api.Hold `json:"hold,omitempty"`

	Origin     *api.Origin `json:"origin,omitempty"`
	Generation uint64      `json:"generation,omitempty"`

	CreatedAt time.Time        `json:"created_at"`
	StartedAt *time.Time       `json:"started_at,omitempty"`
	StoppedAt *time.Time       `json:"stopped_at,omitempty"`
	BootID    string           `json:"boot_id,omitempty"`
	Timing    []api.StepTiming `json:"timing,omitempty"`
}

func rowOf(v api.VM) vmRow {
	return vmRow{
		Version: rowVersion,
		ID:      v.ID, Name: v.Name, State: v.State, Reason: v.Reason,
		Image: v.Image, ImageDigest: v.ImageDigest, ImageConfig: v.ImageConfig, Kernel: v.Kernel, KernelDigest: v.KernelDigest,
		Driver: v.Driver, Accel: v.Accel, DiskDriver: v.DiskDriver, VCPUs: v.VCPUs, MemoryBytes: v.MemoryBytes,
		DiskBytes: v.DiskBytes, GrownBytes: v.GrownBytes, BaseDigest: v.BaseDigest, Network: v.Network, Slot: v.Slot,
		Init: v.Init, Tools: v.Tools, Background: v.Background, Publish: v.Publish, Labels: v.Labels, Next: v.Next,
		AutoRemove: v.AutoRemove, Leased: v.Leased, IdleSuspendSeconds: v.IdleSuspendSeconds, Hold: v.Hold,
		Origin: v.Origin, Generation: v.Generation,
		CreatedAt: v.CreatedAt, StartedAt: v.StartedAt, StoppedAt: v.StoppedAt, BootID: v.BootID, Timing: v.Timing,
	}
}

func (r vmRow) vm() api.VM {
	return api.VM{
		ID: r.ID, Name: r.Name, State: r.State, Reason: r.Reason,
		Image: r.Image, ImageDigest: r.ImageDigest, ImageConfig: r.ImageConfig, Kernel: r.Kernel, KernelDigest: r.KernelDigest,
		Driver: r.Driver, Accel: r.Accel, DiskDriver: r.DiskDriver, VCPUs: r.VCPUs, MemoryBytes: r.MemoryBytes,
		DiskBytes: r.DiskBytes, GrownBytes: r.GrownBytes, BaseDigest: r.BaseDigest, Network: r.Network, Slot: r.Slot,
		Init: r.Init, Tools: r.Tools, Background: r.Background, Publish: r.Publish, Labels: r.Labels, Next: r.Next,
		AutoRemove: r.AutoRemove, Leased: r.Leased, IdleSuspendSeconds: r.IdleSuspendSeconds, Hold: r.Hold,
		Origin: r.Origin, Generation: r.Generation,
		CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, StoppedAt: r.StoppedAt, BootID: r.BootID, Timing: r.Timing,
	}
}
