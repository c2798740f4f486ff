package repo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/internal/update/release"
)

// releases reads the platform's archives from targets.json, newest first. Files for
// other platforms, and those that are not archives, are skipped. Delegations are not
// followed: banger's repositories have none.
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
			err = fmt.Errorf("it describes itself as %s for %s", t.Version, t.Platform)
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

// readTarget reads one entry. Files are named by their SHA-256, so it is required;
// other hashes are ignored (specification, 4.5).
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
		return Target{}, fmt.Errorf("%d bytes is not a valid length of an archive", file.Length)
	}
	return Target{Info: info, Name: name, Length: file.Length, SHA256: [32]byte(sum)}, nil
}
