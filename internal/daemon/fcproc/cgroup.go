package fcproc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"banger/internal/vmid"
)

// HelperCgroup is the root helper's own cgroup, in which older versions started VMs.
const HelperCgroup = "/system.slice/bangerd-root.service"

// Cgroup is the cgroup of the unit that runs the VM.
func Cgroup(id string) string { return "/" + vmid.Slice + "/" + vmid.Unit(id) }

// cgroups returns the cgroups in which the VMM of a VM may be. They are whole paths: a user's own
// systemd creates cgroups of any name below user.slice.
func cgroups(id string) []string { return []string{Cgroup(id), HelperCgroup} }

// parseCgroup returns the path in the hierarchy of version 2 from
// /proc/PID/cgroup (cgroups(7)). No name in it holds a line break: the kernel
// refuses to make such a cgroup (cgroup_mkdir in kernel/cgroup/cgroup.c).
func parseCgroup(data []byte) (string, error) {
	for line := range bytes.Lines(data) {
		path, ok := strings.CutPrefix(string(line), "0::")
		path, whole := strings.CutSuffix(path, "\n")
		if !ok {
			continue
		}
		if !whole || !strings.HasPrefix(path, "/") {
			return "", fmt.Errorf("bad path %.80q", path)
		}
		return path, nil
	}
	return "", errors.New("no cgroup of version 2")
}

// within reports whether path is the cgroup or one below it.
func within(path, cgroup string) bool {
	rest, ok := strings.CutPrefix(path, cgroup)
	return ok && (rest == "" || rest[0] == '/')
}

// maxMembers bounds what is read of a list of pids, in bytes: each has at most 8.
const maxMembers = 1 << 20

// members returns the pids of the processes in a cgroup, or none if the cgroup does not exist.
func (h Host) members(cgroup string) ([]int, error) {
	f, err := os.Open(filepath.Join(h.Cgroup, cgroup, "cgroup.procs"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMembers))
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range bytes.Lines(data) {
		if pid, err := parsePID(line); err == nil { // 0 is one outside our pid namespace
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
