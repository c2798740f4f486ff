// Package snapshots keeps VMs as they were at a moment: their memory, devices and disk, with which other VMs
// begin.
package snapshots

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/idref"
	"banger/internal/vm/records"
)

// The files of a snapshot in its directory. It is complete once it has the directory: its other name ends
// with staging.
const (
	manifestFile = "manifest.json"
	machineDir   = "machine" // what a driver.Saver has written
	diskFile     = "disk"
	staging      = ".new"
)

// format is the version of the manifest's format.
const format = 1

// temporaryTime is how long a temporary snapshot stays at most, if nobody removes it: forks are made of it at
// once.
const temporaryTime = time.Hour

// Manifest is what is recorded of a snapshot.
type Manifest struct {
	Format int `json:"format"`
	api.Snapshot
	Source Source `json:"source"`
}

// Source is what a VM of the snapshot has from the one that it was made of.
type Source struct {
	ImageConfig  *api.ImageConfig `json:"image_config,omitempty"`
	Kernel       string           `json:"kernel"`
	KernelDigest string           `json:"kernel_digest"`
	DiskDriver   string           `json:"disk_driver"`
	BaseDigest   string           `json:"base_digest,omitempty"`
	BaseBytes    int64            `json:"base_bytes"` // the size that the disk was made with
	Network      string           `json:"network,omitempty"`
	Init         string           `json:"init,omitempty"`
	Tools        string           `json:"tools,omitempty"`
	Generation   uint64           `json:"generation,omitempty"`
}

// manifestOf describes a snapshot of v.
func manifestOf(p params, v api.VM) Manifest {
	return Manifest{Format: format,
		Snapshot: api.Snapshot{
			ID: p.ID, Name: p.Name, Temporary: p.Temporary, VM: v.Name, VMID: v.ID, CreatedAt: time.Now(),
			Image: v.Image, ImageDigest: v.ImageDigest, Driver: v.Driver, Accel: v.Accel,
			VCPUs: v.VCPUs, MemoryBytes: v.MemoryBytes, DiskBytes: v.DiskSize(),
		},
		Source: Source{
			ImageConfig: v.ImageConfig, Kernel: v.Kernel, KernelDigest: v.KernelDigest,
			DiskDriver: v.DiskDriver, BaseDigest: v.BaseDigest, BaseBytes: v.DiskBytes,
			Network: v.Network, Init: v.Init, Tools: v.Tools, Generation: v.Generation,
		},
	}
}

// Fill gives a new VM what one of the snapshot has.
func (m Manifest) Fill(v *api.VM) {
	s := m.Source
	v.Image, v.ImageDigest, v.ImageConfig = m.Image, m.ImageDigest, s.ImageConfig
	v.Kernel, v.KernelDigest = s.Kernel, s.KernelDigest
	v.Driver, v.Accel, v.VCPUs, v.MemoryBytes = m.Driver, m.Accel, m.VCPUs, m.MemoryBytes
	v.DiskDriver, v.BaseDigest, v.DiskBytes = s.DiskDriver, s.BaseDigest, s.BaseBytes
	if m.DiskBytes > s.BaseBytes {
		v.GrownBytes = m.DiskBytes
	}
	v.Network, v.Init, v.Tools = s.Network, s.Init, s.Tools
	v.Generation = s.Generation + 1
	v.Origin = &api.Origin{Snapshot: m.ID, Name: m.Name, VM: m.VM, TakenAt: m.CreatedAt}
}

// Check refuses a request for a VM of the snapshot that chooses what such a VM has already.
func (m Manifest) Check(req api.CreateVM) error {
	var chosen []string
	for _, x := range []struct {
		what string
		set  bool
	}{
		{"a profile", req.Profile != ""}, {"an image", req.Image != ""}, {"a kernel", req.Kernel != ""}, {"a driver", req.Driver != ""},
		{"processors", req.VCPUs != 0}, {"memory", req.MemoryBytes != 0}, {"a size of the disk", req.DiskBytes != 0},
		{"a network", req.Network != ""}, {"an init", req.Init != ""}, {"tools", req.Tools != ""}, {"a command to run at each start", req.Background != nil},
	} {
		if x.set {
			chosen = append(chosen, x.what)
		}
	}
	if chosen == nil {
		return nil
	}
	return api.Errorf(api.KindInvalid, "cannot choose %s: a VM that begins with a snapshot has what VM %s had", strings.Join(chosen, ", "), m.VM).
		WithHint("leave that out; banger vm set changes a VM for its next start")
}

// Store has the snapshots of an installation, each in a directory of its own.
type Store struct{ dir string }

// In returns the store in a directory, which need not exist.
func In(dir string) Store { return Store{dir} }

func (s Store) path(id string) string { return filepath.Join(s.dir, id) }

// Machine is the directory with a snapshot's memory, and Disk the file of its disk.
func (s Store) Machine(id string) string { return filepath.Join(s.path(id), machineDir) }

// Disk is the file of a snapshot's disk.
func (s Store) Disk(id string) string { return filepath.Join(s.path(id), diskFile) }

// All returns the snapshots, oldest first. One that cannot be read is not one of them.
func (s Store) All() ([]Manifest, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot read the snapshots: %w", err)
	}
	var all []Manifest
	for _, e := range entries {
		if m, err := s.read(e.Name()); err == nil {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b Manifest) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

func (s Store) read(id string) (m Manifest, err error) {
	if strings.HasSuffix(id, staging) {
		return m, fs.ErrNotExist
	}
	data, err := os.ReadFile(filepath.Join(s.path(id), manifestFile))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, err
	}
	if m.Format != format || m.ID != id {
		return m, errors.New("it is of another version of banger")
	}
	return m, nil
}

// Find returns a snapshot by its name, its id, or the beginning of its id.
func (s Store) Find(ref string) (Manifest, error) {
	all, err := s.All()
	if err != nil {
		return Manifest{}, err
	}
	ids := make([]string, len(all))
	for i, m := range all {
		if m.ID == ref || m.Name == ref && ref != "" {
			return m, nil
		}
		ids[i] = m.ID
	}
	at, err := idref.Find("snapshots", ref, ids, func(i int) string { return idref.Label(ids[i], all[i].Name) })
	if err != nil {
		return Manifest{}, api.AsError(err).WithHint("banger snapshot list")
	}
	if at < 0 {
		return Manifest{}, api.Errorf(api.KindNotFound, "no snapshot named %.80q", ref).WithHint("banger snapshot list")
	}
	return all[at], nil
}

// checkName refuses a name that another snapshot has, or that is not a name.
func (s Store) checkName(name string) error {
	if err := records.CheckName(name); err != nil {
		return err
	}
	if m, err := s.Find(name); err == nil && m.Name == name {
		return api.Errorf(api.KindExists, "a snapshot named %s exists already, of VM %s", name, m.VM).
			WithHint("choose another name, or: banger snapshot delete %s", name)
	}
	return nil
}

// begin makes the directory in which a snapshot is put together, empty.
func (s Store) begin(id string) (dir string, err error) {
	dir = s.path(id) + staging
	err = os.RemoveAll(dir)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, machineDir), 0o700)
	}
	return dir, err
}

// commit makes a snapshot that was put together one of the others.
func (s Store) commit(m Manifest) error {
	dir := s.path(m.ID) + staging
	m.UsedBytes = fsx.Usage(dir)
	err := fsx.WriteJSON(filepath.Join(dir, manifestFile), m)
	if err == nil {
		err = fsx.SyncDir(dir)
	}
	if err == nil {
		err = os.Rename(dir, s.path(m.ID))
	}
	if err == nil {
		err = fsx.SyncDir(s.dir)
	}
	return err
}

// Remove removes a snapshot, or what there is of it. VMs that began with it keep what they have.
func (s Store) Remove(id string) error {
	// The manifest goes first: what has none is not a snapshot.
	err := os.Remove(filepath.Join(s.path(id), manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return fsx.DiskError("remove snapshot "+id, errors.Join(err, os.RemoveAll(s.path(id)), os.RemoveAll(s.path(id)+staging)))
}

// sweep removes temporary snapshots that nobody has removed.
func (s Store) sweep() error {
	all, err := s.All()
	for _, m := range all {
		if m.Temporary && time.Since(m.CreatedAt) > temporaryTime {
			err = errors.Join(err, s.Remove(m.ID))
		}
	}
	return err
}

// InUse returns the snapshots that use an image or kernel, as users of it are named.
func (s Store) InUse(digest string) (names []string) {
	all, _ := s.All()
	for _, m := range all {
		if m.ImageDigest == digest || m.Source.KernelDigest == digest {
			names = append(names, api.SnapshotUser+cmp.Or(m.Name, m.ID))
		}
	}
	return names
}

// DisksInUse returns the sizes of an image's disks that the disks of snapshots need.
func (s Store) DisksInUse(digest string) (sizes []int64) {
	all, _ := s.All()
	for _, m := range all {
		if m.ImageDigest == digest {
			sizes = append(sizes, m.Source.BaseBytes)
		}
	}
	return sizes
}
