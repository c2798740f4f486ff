package fcproc

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"banger/internal/vmid"
)

// User is a process that runs with a VM's user id.
type User struct {
	PID  int
	Name string // what the kernel calls it, proc_pid_comm(5)
	UID  uint32
	ID   string // of the VM whose cgroup it is in; empty: of none
}

// Users lists the processes whose user id is in a range, from the first on and
// below the second. Processes that vanish meanwhile are passed over.
func (h Host) Users(from, below uint32) ([]User, error) {
	entries, err := os.ReadDir(h.Proc)
	if err != nil {
		return nil, err
	}
	var users []User
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid <= 0 {
			continue
		}
		uid, ok := h.uidOf(e.Name())
		if !ok || uid < from || uid >= below {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(h.Proc, e.Name(), "comm"))
		if err != nil {
			continue
		}
		users = append(users, User{PID: pid, Name: string(bytes.TrimSpace(comm)), UID: uid, ID: h.cgroupID(e.Name())})
	}
	return users, nil
}

// uidOf reads a process's real user id from its status (proc_pid_status(5)); the
// owner of its directory is root for a process that must not be dumped.
func (h Host) uidOf(pid string) (uint32, bool) {
	data, err := os.ReadFile(filepath.Join(h.Proc, pid, "status"))
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte("Uid:"))
		if fields := bytes.Fields(rest); ok && len(fields) > 0 {
			uid, err := strconv.ParseUint(string(fields[0]), 10, 32)
			return uint32(uid), err == nil
		}
	}
	return 0, false
}

// cgroupID is the VM whose unit's cgroup a process is in.
func (h Host) cgroupID(pid string) string {
	data, err := os.ReadFile(filepath.Join(h.Proc, pid, "cgroup"))
	if err != nil {
		return ""
	}
	path, err := parseCgroup(data)
	if err != nil {
		return ""
	}
	id, _ := vmid.FromUnit(filepath.Base(path))
	return id
}
