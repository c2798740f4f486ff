// Package release defines the names of releases and the format of their metadata, which
// the release tool writes and `banger update` reads.
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

// Programs are the files of an archive, in order; an archive holds no others.
var Programs = []string{"banger", "bangerd", "bangerd-root", "banger-agent"}

// MaxArchive bounds an archive in bytes, and MaxProgram each of its unpacked programs.
// Real ones have about 30 MiB each.
const (
	MaxArchive = 256 << 20
	MaxProgram = 128 << 20
)

// Info is what the signed metadata contains about an archive besides its length and
// hashes: the `custom` field of a target (TUF specification, 4.5).
type Info struct {
	Version  string    `json:"version"`  // vX.Y.Z
	Commit   string    `json:"commit"`   // what it was built from
	BuiltAt  time.Time `json:"built_at"` // the commit's time
	Platform string    `json:"platform"` // such as linux/amd64
	// DowngradeFrom lists the newer versions that may be replaced with this one.
	DowngradeFrom []string `json:"downgrade_from,omitempty"`
}

var versionPattern = regexp.MustCompile(`^v(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})(-[0-9A-Za-z.-]{1,40})?$`)

// ValidVersion reports whether v is the version of a release: vX.Y.Z, optionally with a
// pre-release (semver.org, 2.0.0; without build metadata).
func ValidVersion(v string) bool { return versionPattern.MatchString(v) && semver.IsValid(v) }

// Compare returns -1, 0 or 1 if a is older than b, the same or newer.
func Compare(a, b string) int { return semver.Compare(a, b) }

// Prerelease reports whether v is a pre-release, which only `--to` installs.
func Prerelease(v string) bool { return semver.Prerelease(v) != "" }

// Target returns the name of an archive in the repository.
func Target(version, goos, goarch string) string {
	return fmt.Sprintf("banger_%s_%s_%s.tar.gz", version, goos, goarch)
}

// ParseInfo reads a target's custom metadata.
func ParseInfo(custom []byte) (Info, error) {
	var i Info
	if len(custom) == 0 {
		return i, errors.New("it has no description")
	}
	if err := json.Unmarshal(custom, &i); err != nil {
		return i, err
	}
	return i, i.Validate()
}

// Validate checks an archive's description.
func (i Info) Validate() error {
	switch {
	case !ValidVersion(i.Version):
		return fmt.Errorf("%q is not a valid version", i.Version)
	case i.Commit == "" || len(i.Commit) > 64:
		return fmt.Errorf("%q is not a valid commit", i.Commit)
	case i.BuiltAt.IsZero():
		return errors.New("its build time is missing")
	case !slices.Contains([]string{"linux/amd64", "linux/arm64"}, i.Platform):
		return fmt.Errorf("%q is not a supported platform", i.Platform)
	}
	for _, v := range i.DowngradeFrom {
		if !ValidVersion(v) {
			return fmt.Errorf("%q is not a valid version to downgrade from", v)
		}
	}
	return nil
}

// MayReplace reports whether this version may replace installed, which may be newer,
// older or the same.
func (i Info) MayReplace(installed string) bool {
	return Compare(i.Version, installed) >= 0 || slices.Contains(i.DowngradeFrom, installed)
}
