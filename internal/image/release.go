package image

import (
	"os"
	"slices"
	"strings"

	"banger/internal/image/oci/registry"
)

// release is a distribution's release, from os-release(5).
type release struct{ id, version, codename string }

func hostRelease() release {
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if data, err := os.ReadFile(file); err == nil {
			return parseRelease(string(data))
		}
	}
	return release{}
}

func parseRelease(text string) release {
	var r release
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			r.id = value
		case "VERSION_ID":
			r.version = value
		case "VERSION_CODENAME":
			r.codename = value
		}
	}
	return r
}

// image returns the name of the image that is built from the host's distribution.
func (r release) image() string {
	if r.id == "ubuntu" {
		return "ubuntu"
	}
	return "debian"
}

// canonical maps the other names of the host's own release (debian-12, debian-bookworm,
// bookworm) to the image's name.
func (r release) canonical(name string) string {
	base := r.image()
	var others []string
	for _, v := range []string{r.version, r.codename} {
		if v != "" {
			others = append(others, base+"-"+v, base+":"+v)
		}
	}
	if slices.Contains(others, name) || (r.codename != "" && name == r.codename) {
		return base
	}
	return name
}

// DefaultName returns the name of the image that is built from the packages of the
// host's own distribution.
func DefaultName() string { return hostRelease().image() }

// CanPull reports whether Pull can try to get an image of that name.
func (c *Cache) CanPull(name string) bool {
	_, err := registry.Parse(name)
	return err == nil || c.host.canonical(name) == c.host.image()
}
