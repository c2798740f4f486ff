package doctor

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
)

// lvmFilter excludes the devices of VMs' disks from LVM (lvm.conf(5)): data written by
// a guest can look like a physical volume of this machine.
const lvmFilter = `global_filter = [ "r|^/dev/loop|", "r|^/dev/mapper/banger-|" ]`

func lvmCheck() Check {
	return Check{
		Name: "lvm", Run: lvm,
		Why: "LVM, also on its own at boot and hotplug, would read volumes that a guest wrote to its disk as this machine's, and may activate them",
		Fix: `add to the section "devices" of /etc/lvm/lvm.conf: ` + lvmFilter,
	}
}

// The files with LVM's settings, the second overrides the first, and the file with the
// devices that it may use (lvmdevices(8)), if that is enabled.
var lvmSettings = []string{"/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf"}

const lvmDevices = "/etc/lvm/devices/system.devices"

func lvm(_ context.Context, h Host) Finding {
	if _, err := h.LookPath("lvm"); err != nil {
		return ok("not installed")
	}
	filter, devices := "", ""
	for _, path := range lvmSettings {
		data, err := h.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return warn("cannot find out: " + err.Error())
		}
		text := lvmComment.ReplaceAllString(string(data), "")
		if m := lvmGlobalFilter.FindAllString(text, -1); m != nil {
			filter = m[len(m)-1]
		}
		if m := lvmUseDevices.FindAllStringSubmatch(text, -1); m != nil {
			devices = m[len(m)-1][1]
		}
	}
	if _, err := h.ReadFile(lvmDevices); err == nil && devices == "1" {
		return ok("uses the devices of " + lvmDevices + " only")
	}
	if filtersVMs(filter) {
		return ok("ignores the disks of VMs")
	}
	return warn("installed, and no filter excludes the disks of VMs")
}

var (
	lvmComment      = regexp.MustCompile(`(?m)^\s*#.*$`)
	lvmGlobalFilter = regexp.MustCompile(`(?m)^\s*(?:devices/)?global_filter\s*=\s*(?:\[[^\]]*\]|"[^"]*")`)
	lvmUseDevices   = regexp.MustCompile(`(?m)^\s*(?:devices/)?use_devicesfile\s*=\s*([01])`)
	lvmPattern      = regexp.MustCompile(`"r(.)([^"]*)"`)
)

// filtersVMs reports whether a filter rejects loop devices and banger's devices, or
// everything that it does not accept.
func filtersVMs(filter string) bool {
	loops, ours := false, false
	for _, m := range lvmPattern.FindAllStringSubmatch(filter, -1) {
		pattern := strings.TrimSuffix(m[2], m[1])
		if pattern == ".*" || pattern == ".*/" {
			return true
		}
		loops = loops || strings.Contains(pattern, "loop")
		ours = ours || strings.Contains(pattern, "banger")
	}
	return loops && ours
}
