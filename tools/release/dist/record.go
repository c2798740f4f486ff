package dist

import (
	"encoding/json"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/update/release"
)

const (
	recordName = "release.json"
	rootName   = "root.json"
)

// Record describes what a release was built from: everything that is needed to build it
// again.
type Record struct {
	Version    string    `json:"version"`
	Commit     string    `json:"commit"`
	BuiltAt    time.Time `json:"built_at"` // the commit's time
	Go         string    `json:"go"`
	Repository string    `json:"repository,omitempty"`
	Download   string    `json:"download,omitempty"`
}

func (r Record) encode() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// Read returns the record and the archives of a release, by their names in an update
// repository, after checking that they are complete.
func Read(dir, version string) (Record, map[string]Archived, error) {
	sums, err := readSums(dir)
	if err != nil {
		return Record{}, nil, err
	}
	r, _, err := readInputs(dir, sums)
	if err != nil {
		return r, nil, err
	}
	if r.Version != version {
		return r, nil, api.Errorf(api.KindInvalid, "cannot read release %s from %s: that is %s", version, dir, r.Version)
	}
	archives := map[string]Archived{}
	for _, arch := range Platforms {
		name := release.Target(version, goos, arch)
		data, err := readSummed(dir, name, sums)
		if err == nil {
			err = checkArchive(data)
		}
		if err != nil {
			return r, nil, api.Errorf(api.KindInvalid, "cannot read archive %s: %w", name, err)
		}
		archives[name] = Archived{Data: data, Info: release.Info{
			Version: r.Version, Commit: r.Commit, BuiltAt: r.BuiltAt, Platform: fmt.Sprintf("%s/%s", goos, arch),
		}}
	}
	return r, archives, nil
}

// Archived is an archive with its signed metadata.
type Archived struct {
	Data []byte
	Info release.Info
}
