package firecracker

import (
	"fmt"
	"strings"

	"banger/api"
)

// Get is the command that installs both programs of the newest release.
const Get = "sudo banger system firecracker"

// knownIssue is a known fault of a program in a range of versions: from the first on and
// before the second.
type knownIssue struct {
	program string
	from    Version
	before  Version
	text    string
}

func v(major, minor, patch int) Version { return Version{Major: major, Minor: minor, Patch: patch} }

// refused are the versions that cannot be used.
var refused = []knownIssue{
	{Firecracker, v(0, 0, 0), v(1, 8, 0), "it has no ACPI tables, without which a distribution's kernel does not find its devices"},
	{Jailer, v(0, 0, 0), v(1, 0, 0), "it is older than 1.0, and was never tested"},
}

// warned are the versions that work but have a known fault. The numbers are from
// Firecracker's security advisories and CHANGELOG.md.
var warned = []knownIssue{
	{Jailer, v(0, 0, 0), v(1, 13, 2), symlinks},
	{Jailer, v(1, 14, 0), v(1, 14, 1), symlinks},
	{Firecracker, v(1, 13, 0), v(1, 14, 4), pciWrite},
	{Firecracker, v(1, 15, 0), v(1, 15, 1), pciWrite},
	{Firecracker, v(0, 0, 0), v(1, 16, 0), "it lacks the fixes of 1.16.0 that have no number"},
	hangsAfterPause,
}

// hangsAfterPause are the versions whose VMs cannot be paused; all else works. Firecracker's
// issues 6100 and 6074.
var hangsAfterPause = knownIssue{Firecracker, v(1, 16, 0), v(1, 17, 0), "connections to a guest that was paused and resumed may hang forever"}

// CanPause refuses to pause a machine of a version, as Firecracker's API names it, that cannot be used
// after it was resumed.
func CanPause(running string) error {
	version, ok := Parse(running)
	if !ok {
		return api.Errorf(api.KindUnsupported, "cannot pause the VM: its Firecracker says that it is version %.80q", running)
	}
	if _, hangs := hangsAfterPause.in(map[string]Version{Firecracker: version}); hangs {
		return api.Errorf(api.KindUnsupported, "cannot pause the VM: with Firecracker %s %s", version, hangsAfterPause.text).
			WithHint("%s   installs another release, which the VM's next start uses", Get)
	}
	return nil
}

const (
	symlinks = "CVE-2026-1386: it follows symbolic links in the jail when it copies Firecracker there"
	pciWrite = "CVE-2026-5747: a guest can write out of bounds through virtio over PCI (banger does not use PCI)"
)

// CheckVersions reports whether a Firecracker and a jailer can be used: an error says why not,
// each warning describes a known fault.
func CheckVersions(firecracker, jailer Version) (warnings []string, err error) {
	have := map[string]Version{Firecracker: firecracker, Jailer: jailer}
	for _, f := range refused {
		if version, bad := f.in(have); bad {
			return nil, api.Errorf(api.KindUnsupported, "cannot use %s %s: %s", strings.ToLower(f.program), version, f.text).
				WithHint("%s   installs both programs of the newest release", Get)
		}
	}
	for _, f := range warned {
		if version, bad := f.in(have); bad {
			warnings = append(warnings, fmt.Sprintf("%s %s: %s", strings.ToLower(f.program), version, f.text))
		}
	}
	if firecracker.Compare(jailer) != 0 {
		warnings = append(warnings, fmt.Sprintf("firecracker %s and jailer %s are of different releases, a combination that its project does not test", firecracker, jailer))
	}
	return warnings, nil
}

func (f knownIssue) in(have map[string]Version) (Version, bool) {
	version := have[f.program]
	return version, version.Compare(f.from) >= 0 && version.Compare(f.before) < 0
}
