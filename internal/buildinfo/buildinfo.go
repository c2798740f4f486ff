// Package buildinfo says which banger this is.
package buildinfo

import (
	"cmp"
	"encoding/base64"
	"runtime"
	"runtime/debug"
)

// Set by the linker: -X banger/internal/buildinfo.version=… and so on. Empty
// in a plain `go build`, where the Go tool's own stamp is used.
var version, commit string

// What a release trusts, set in the same way: root.json of the release repository
// (TUF specification, 4.3) in base64, and where that repository is.
var updateRoot, updateRepository string

// Update returns what this build trusts for updates and where it looks for them;
// nothing if it is not a release.
func Update() (root []byte, repository string) {
	root, err := base64.StdEncoding.DecodeString(updateRoot)
	if err != nil {
		return nil, updateRepository
	}
	return root, updateRepository
}

// Info describes one build.
type Info struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	// Platform is as Go names it, such as linux/amd64.
	Platform string `json:"platform"`
}

// Get returns the description of the running program.
func Get() Info {
	info := Info{
		Version:  version,
		Commit:   commit,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info.Commit == "" {
		info.Commit = stamped()
	}
	info.Version = cmp.Or(info.Version, "dev")
	info.Commit = cmp.Or(info.Commit, "unknown")
	return info
}

// stamped is the revision that the Go tool wrote into the program, with
// "-dirty" where the checkout had changes.
func stamped() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, dirty string
	for _, s := range build.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}
