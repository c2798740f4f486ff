// Package buildinfo says which banger this is.
package buildinfo

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// Set by the linker: -X banger/internal/buildinfo.version=… and so on. Empty
// in a plain `go build`, where the Go tool's own stamp is used.
var version, commit string

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
