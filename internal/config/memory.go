package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroupRoot is the mount point of control groups version 2 (file-hierarchy(7),
// cgroups(7)).
const cgroupRoot = "/sys/fs/cgroup"

// MemoryFor returns how many bytes of memory the processes in a control group may use
// together, and what sets the limit: the host, or memory.max of the group or one above
// it. cgroup is its path below the root of version 2.
func (h Host) MemoryFor(cgroup string) (bytes int64, whose string) {
	return h.memoryFor(cgroupRoot, cgroup)
}

func (h Host) memoryFor(root, cgroup string) (bytes int64, whose string) {
	bytes, whose = h.MemoryBytes, "this host"
	for at := filepath.Join("/", cgroup); at != "/"; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(root, at, "memory.max"))
		if err != nil { // no such group yet, or no such controller: no limit
			continue
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && (limit < bytes || bytes == 0) {
			bytes, whose = limit, "the control group "+at
		}
	}
	return bytes, whose
}

// OwnCgroup returns the path of this process's control group, below the root of version
// 2 (cgroups(7), /proc/pid/cgroup); "/" if there is none.
func OwnCgroup() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "/"
	}
	return ownCgroup(string(text))
}

func ownCgroup(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return "/"
}
