package distro

import (
	"os"
	"slices"
	"strings"
)

// Release is a distribution's release, from os-release(5).
type Release struct{ ID, Version, Codename string }

// Host returns the release of this host.
func Host() Release {
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if data, err := os.ReadFile(file); err == nil {
			return parseRelease(string(data))
		}
	}
	return Release{}
}

func parseRelease(text string) Release {
	var r Release
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			r.ID = value
		case "VERSION_ID":
			r.Version = value
		case "VERSION_CODENAME":
			r.Codename = value
		}
	}
	return r
}

// Image returns the name of the image that is built from the host's distribution.
func (r Release) Image() string {
	if r.ID == "ubuntu" {
		return "ubuntu"
	}
	return "debian"
}

// Builds reports whether an image of that name is built from the host's packages.
func (r Release) Builds(name string) bool { return name == Builder || r.Canonical(name) == r.Image() }

// Canonical maps the other names of the host's own release (debian-12, debian-bookworm,
// bookworm) to the image's name.
func (r Release) Canonical(name string) string {
	base := r.Image()
	var others []string
	for _, v := range []string{r.Version, r.Codename} {
		if v != "" {
			others = append(others, base+"-"+v, base+":"+v)
		}
	}
	if slices.Contains(others, name) || (r.Codename != "" && name == r.Codename) {
		return base
	}
	return name
}
