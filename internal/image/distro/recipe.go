package distro

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
)

// recipeVersion is increased if finish changes the content of the image.
const recipeVersion = 2

// packages are what a developer expects, besides the essential ones. openssh-client is
// for git; netbase has the names of ports.
var packages = []string{
	"git", "curl", "ca-certificates", "procps", "iproute2", "less", "nano", "openssh-client", "netbase",
}

// Builder is the name of the image that Dockerfiles are built in: the distribution's, with a program
// that builds images.
const Builder = "banger-builder"

// builderPackages are those that Builder has instead. buildah recommends a program that runs
// containers; with `--isolation chroot` it needs none (buildah-build(1)). The modules of the kernel, and so
// overlay file systems, are there for guests with an init of their own alone.
var builderPackages = []string{"buildah", "ca-certificates", "kmod", "netbase", "systemd-sysv"}

// packagesOf returns the packages of an image, besides the essential ones.
func packagesOf(image string) []string {
	if image == Builder {
		return builderPackages
	}
	return packages
}

// Recipe identifies the sources of an image that is built here, except for versions of
// packages: a cached image with another digest is out of date.
func (r Release) Recipe(image string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s %s", recipeVersion, r.Codename, runtime.GOARCH, strings.Join(packagesOf(image), ",")))
	return hex.EncodeToString(sum[:8])
}

// files replace files of the packages, or of the host that the image was built on.
func files(id, sources string) map[string]string {
	return map[string]string{
		"/etc/hostname":       "localhost\n",
		"/etc/hosts":          "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
		"/etc/resolv.conf":    "",
		"/etc/machine-id":     "", // made at the first boot (machine-id(5))
		"/etc/default/locale": "LANG=C.UTF-8\n",
		"/etc/apt/sources.list.d/" + id + ".sources": sources,
	}
}

// leftovers are what a build leaves: its settings and logs, and files that can be
// downloaded or made again.
var leftovers = []string{
	"/etc/apt/apt.conf.d/99mmdebstrap", "/etc/dpkg/dpkg.cfg.d/99mmdebstrap", "/etc/apt/sources.list", "/etc/apt/sources.list.d/*",
	"/var/lib/apt/lists/*", "/var/cache/apt/*.bin", "/var/cache/apt/archives/*", "/var/lib/dbus/machine-id",
	"/var/cache/ldconfig/aux-cache", "/var/cache/debconf/*-old", "/var/lib/dpkg/*-old",
	"/var/log/*.log", "/var/log/apt/*", "/tmp/*", "/var/tmp/*",
}
