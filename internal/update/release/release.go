// Package release says what a release is called and what its metadata tells:
// what the release tool writes and `banger update` reads.
package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"golang.org/x/mod/semver"
)

// Programs are the files of an archive, all of them and no others, in order.
var Programs = []string{"banger", "bangerd", "bangerd-root", "banger-agent"}

// MaxArchive bounds an archive's length in bytes, and MaxProgram what one of its
// programs unpacks to. Real ones have about 30 MiB and 30 MiB.
const (
	MaxArchive = 256 << 20
	MaxProgram = 128 << 20
)

// Info is what the signed metadata says of an archive beside its length and
// hashes: the `custom` field of a target (TUF specification, 4.5).
type Info struct {
	Version  string    `json:"version"`  // vX.Y.Z
	Commit   string    `json:"commit"`   // what it was built from
	BuiltAt  time.Time `json:"built_at"` // the commit's time
	Platform string    `json:"platform"` // such as linux/amd64
	// DowngradeFrom lists the newer versions from which going back to this one is
	// allowed.
	DowngradeFrom []string `json:"downgrade_from,omitempty"`
}

var versionPattern = regexp.MustCompile(`^v(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})(-[0-9A-Za-z.-]{1,40})?$`)

// ValidVersion tells whether a version is one that can be released: vX.Y.Z, and
// perhaps a pre-release (semver.org, 2.0.0; without build metadata).
func ValidVersion(v string) bool { return versionPattern.MatchString(v) && semver.IsValid(v) }

// Compare returns -1, 0 or 1 as a is older than b, the same or newer.
func Compare(a, b string) int { return semver.Compare(a, b) }

// Prerelease tells whether a version is one that only `--to` takes.
func Prerelease(v string) bool { return semver.Prerelease(v) != "" }

// Target is the name of an archive in the repository.
func Target(version, goos, goarch string) string {
	return fmt.Sprintf("banger_%s_%s_%s.tar.gz", version, goos, goarch)
}

// ParseInfo reads a target's custom metadata.
func ParseInfo(custom []byte) (Info, error) {
	var i Info
	if len(custom) == 0 {
		return i, errors.New("it does not say what it is")
	}
	if err := json.Unmarshal(custom, &i); err != nil {
		return i, err
	}
	return i, i.Validate()
}

// Validate returns what is wrong with an archive's description.
func (i Info) Validate() error {
	switch {
	case !ValidVersion(i.Version):
		return fmt.Errorf("%q is no version", i.Version)
	case i.Commit == "" || len(i.Commit) > 64:
		return fmt.Errorf("%q is no commit", i.Commit)
	case i.BuiltAt.IsZero():
		return errors.New("it does not say when it was built")
	case !slices.Contains([]string{"linux/amd64", "linux/arm64"}, i.Platform):
		return fmt.Errorf("%q is no platform of banger's", i.Platform)
	}
	for _, v := range i.DowngradeFrom {
		if !ValidVersion(v) {
			return fmt.Errorf("%q is no version to go back from", v)
		}
	}
	return nil
}

// MayReplace tells whether this version may follow installed, which is newer,
// older or the same.
func (i Info) MayReplace(installed string) bool {
	return Compare(i.Version, installed) >= 0 || slices.Contains(i.DowngradeFrom, installed)
}
