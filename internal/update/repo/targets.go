package repo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/internal/update/release"
)

// releases reads the platform's archives from targets.json, the newest first.
// Files for others, and those that are no archives, are none of this host's
// business. Delegations are not followed: a repository of banger's has none.
func (f *refresh) releases() ([]Target, error) {
	goos, goarch, _ := strings.Cut(f.opts.Platform, "/")
	suffix := strings.TrimPrefix(release.Target("", goos, goarch), "banger_")
	var all []Target
	for name, file := range f.trusted.Targets[metadata.TARGETS].Signed.Targets {
		if !strings.HasPrefix(name, "banger_") || !strings.HasSuffix(name, suffix) {
			continue
		}
		t, err := readTarget(name, file)
		if err == nil && (t.Platform != f.opts.Platform || release.Target(t.Version, goos, goarch) != name) {
			err = fmt.Errorf("it says that it is %s for %s", t.Version, t.Platform)
		}
		if err != nil {
			return nil, refuse("cannot use release %q: what was signed about it is wrong: %w", name, err).
				WithHint("tell the repository's publisher")
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Target) int { return release.Compare(b.Version, a.Version) })
	return all, nil
}

// readTarget reads one entry. SHA-256 is what files are named by, so it has to be
// there; other hashes say nothing more and are not looked at (specification, 4.5).
func readTarget(name string, file *metadata.TargetFiles) (Target, error) {
	var custom json.RawMessage
	if file.Custom != nil {
		custom = *file.Custom
	}
	info, err := release.ParseInfo(custom)
	if err != nil {
		return Target{}, err
	}
	sum := file.Hashes["sha256"]
	if len(sum) != 32 {
		return Target{}, fmt.Errorf("it has no SHA-256")
	}
	if file.Length < 1 || file.Length > release.MaxArchive {
		return Target{}, fmt.Errorf("a length of %d bytes is no archive's", file.Length)
	}
	return Target{Info: info, Name: name, Length: file.Length, SHA256: [32]byte(sum)}, nil
}
