// Package feature gets the features of a dev container: which there are with all that they depend
// on, in which order they are installed, and their files (containers.dev/implementors/features).
// A feature is a stranger's program. Nothing of it runs here: its files become a tar stream for a
// guest, and its description is data.
package feature

import (
	"io"

	"banger/api"
	"banger/internal/size"
	"banger/internal/workspace/jsonc"
)

// Limits of features. The largest of those that are published by the authors of the specification
// have 20 files and 150 kB.
const (
	maxFeatures = 64             // of one dev container, with what they depend on
	maxArchive  = 32 * size.MiB  // as it is downloaded
	maxBytes    = 128 * size.MiB // of all files of one
	maxEntries  = 10_000
	maxMetadata = size.MiB // of devcontainer-feature.json
)

// The files that each feature has.
const (
	metadataFile = "devcontainer-feature.json"
	installFile  = "install.sh"
)

// Request is a feature that a file asks for.
type Request struct {
	ID      ID
	Options Options
}

// Feature is a feature that is to be installed.
type Feature struct {
	Request
	// Digest is that of its manifest; empty for a local one.
	Digest string
	Metadata
	// Dir is its directory in the guest, below the root, where Pack is unpacked.
	Dir string

	files io.ReaderAt
	size  int64 // of files, a tar stream
}

// Pack returns the feature's files as a tar stream.
func (f *Feature) Pack() io.Reader { return io.NewSectionReader(f.files, 0, f.size) }

// Metadata is what a feature's devcontainer-feature.json says.
type Metadata struct {
	Name    string // its key id
	Version string
	// Current is its name if it was renamed; Legacy are those that it had before.
	Current    string
	Legacy     []string
	Deprecated bool

	Defaults     []Option // in the order of the file
	DependsOn    []Request
	InstallAfter []ID
	// Members are all keys, in the order of the file.
	Members []jsonc.Member
}

// aliases are all names of the feature in its namespace, the present one first.
func (m Metadata) aliases() []string {
	now := m.Current
	if now == "" {
		now = m.Name
	}
	return append([]string{now}, m.Legacy...)
}

func invalid(id ID, format string, args ...any) *api.Error {
	return api.Errorf(api.KindInvalid, "cannot use the feature %s: "+format, append([]any{id}, args...)...)
}
