package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
)

// Saver is implemented by machines whose memory and devices can be saved to files. The disk is not
// part of that.
type Saver interface {
	Pauser
	// Save writes what Restorer needs to files in dir, an empty directory, and returns when they are
	// durable; the name of dir itself is the caller's. From then on the machine stands still, the data
	// that it has written is in its disk's file, and nothing changes that until Resume. The caller
	// either ends the machine, or lets it continue with Resume, as if nothing had been saved, or saves it
	// again, which lets it run for a moment.
	//
	// If Save fails or is cancelled, the machine is as it was before: a running one runs. What dir
	// holds then is not complete and is refused by Restorer. A full disk is an error of kind
	// api.KindNoSpace. While Save works, other requests to the VMM wait for it, or fail.
	Save(ctx context.Context, dir string) error
}

// Restorer is a driver that can start machines from what a Saver has written.
type Restorer interface {
	// Judge returns an error of kind api.KindUnsupported if the machine that was saved to dir cannot
	// be restored as spec, here and now; it says what differs, or what is damaged. It does not read
	// the saved memory. Restore does the same before it starts anything.
	Judge(ctx context.Context, spec Spec, dir string) error
	// Restore is Start for a saved machine: spec describes a machine of the same size, with a disk
	// whose content is that of the moment of Save; kernel, initramfs and cmdline have no effect. The
	// machine stands still until Resume. It is the caller's to see that a disk is used by one machine, and
	// that a saved memory is not used again with a disk that has changed since.
	//
	// The files are only read, and several machines can be restored from them. They may be removed,
	// but not changed, while a machine runs that was restored from them. If Restore fails or is
	// cancelled, nothing is left of the machine.
	Restore(ctx context.Context, spec Spec, dir string) (Machine, error)
}

// The names of the files of a saved machine in its directory.
const (
	SavedManifest = "saved.json" // written last
	SavedState    = "state"      // of the devices
	SavedMemory   = "ram"        // sparse, as long as the guest's memory
)

// savedFormat is the version of the manifest's format.
const savedFormat = 1

// Provenance is what a saved machine depends on: it is restored only where the same is found.
type Provenance struct {
	VMM     string `json:"vmm"`     // the driver's name
	Version string `json:"version"` // of the VMM, with the version of its package if it says so
	Binary  string `json:"binary_sha256,omitempty"`
	// FirmwareBytes is the length of the VMM's firmware; its content is saved.
	FirmwareBytes int64 `json:"firmware_bytes,omitempty"`

	Accel string `json:"accel"`
	// CPU is the model of the host's processor and a digest of its features, for an accelerator
	// whose guests see these.
	CPU string `json:"cpu,omitempty"`
	// TSCKHz is the frequency of the host's time stamp counter, for an accelerator whose guests
	// read it and cannot be told another; 0: unknown.
	TSCKHz int64 `json:"tsc_khz,omitempty"`

	VCPUs       int   `json:"vcpus"`
	MemoryBytes int64 `json:"memory_bytes"`
}

// Saved is the manifest of a saved machine.
type Saved struct {
	Format int `json:"format"`
	Provenance
	StateBytes  int64  `json:"state_bytes"`
	StateSHA256 string `json:"state_sha256"`
	DataBytes   int64  `json:"data_bytes"` // of the memory, without its holes
}

// WriteSaved writes a manifest, after all else has been written: what has none is not complete. It makes the
// directory durable.
func WriteSaved(dir string, s Saved) error {
	s.Format = savedFormat
	if err := fsx.WriteJSON(filepath.Join(dir, SavedManifest), s); err != nil {
		return fmt.Errorf("cannot write %s: %w", SavedManifest, err)
	}
	return fsx.SyncDir(dir)
}

// maxManifest bounds the manifest, in bytes.
const maxManifest = 64 << 10

// ReadSaved reads a manifest and checks that the files beside it have the right length. Its errors have
// the kind api.KindUnsupported.
func ReadSaved(dir string) (Saved, error) {
	var s Saved
	name := filepath.Join(dir, SavedManifest)
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return s, damaged("it is not complete: %s is missing", name)
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxManifest {
		return s, damaged("%s cannot be read", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return s, damaged("%w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, damaged("%s is not a manifest: %w", name, err)
	}
	if s.Format != savedFormat {
		return s, damaged("%s has the format %d, and this banger reads %d", name, s.Format, savedFormat)
	}
	for file, length := range map[string]int64{SavedState: s.StateBytes, SavedMemory: s.MemoryBytes} {
		info, err := os.Lstat(filepath.Join(dir, file))
		if err != nil {
			return s, damaged("%w", err)
		}
		if !info.Mode().IsRegular() || info.Size() != length {
			return s, damaged("%s has %d bytes, not %d", filepath.Join(dir, file), info.Size(), length)
		}
	}
	return s, nil
}

func damaged(format string, args ...any) error {
	return api.Errorf(api.KindUnsupported, "the saved memory cannot be used: "+format, args...)
}

// tscTolerance is by how much two measurements of the same counter may differ, as a part of it.
const tscTolerance = 100

// Judge returns an error of kind api.KindUnsupported that says in which way now, what is found here and
// asked for, differs from where a machine was saved.
func (p Provenance) Judge(now Provenance) error {
	var differs []string
	for _, c := range []struct {
		what, then, now string
	}{
		{"driver", p.VMM, now.VMM},
		{"version of the VMM", p.Version, now.Version},
		{"VMM's program", short(p.Binary), short(now.Binary)},
		{"firmware in bytes", fmt.Sprint(p.FirmwareBytes), fmt.Sprint(now.FirmwareBytes)},
		{"accelerator", p.Accel, now.Accel},
		{"host's processor", p.CPU, now.CPU},
		{"number of vCPUs", fmt.Sprint(p.VCPUs), fmt.Sprint(now.VCPUs)},
		{"memory in bytes", fmt.Sprint(p.MemoryBytes), fmt.Sprint(now.MemoryBytes)},
	} {
		if c.then != c.now {
			differs = append(differs, fmt.Sprintf("the %s was %.100q, and is %.100q now", c.what, c.then, c.now))
		}
	}
	if apart := p.TSCKHz - now.TSCKHz; p.TSCKHz > 0 && now.TSCKHz > 0 && max(apart, -apart) > p.TSCKHz/tscTolerance {
		differs = append(differs, fmt.Sprintf("the frequency of the host's time stamp counter was %d kHz, and is %d kHz now", p.TSCKHz, now.TSCKHz))
	}
	if differs == nil {
		return nil
	}
	return api.Errorf(api.KindUnsupported, "the saved memory fits only where it was saved: %s", strings.Join(differs, "; "))
}

// short is enough of a digest to tell two apart.
func short(digest string) string {
	if len(digest) > 16 {
		return digest[:16]
	}
	return digest
}
