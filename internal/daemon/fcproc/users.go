package fcproc

import (
	"bytes"
	"context"
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

// Users lists the processes whose user id is in a range, from the first on and below the second. It
// skips processes that end during it.
func (h Host) Users(ctx context.Context, from, below uint32) ([]User, error) {
	var users []User
	err := h.table().Each(ctx, func(pid int) {
		uid, ok := h.uidOf(pid)
		if !ok || uid < from || uid >= below {
			return
		}
		comm, err := h.table().Read(pid, "comm")
		if err != nil {
			return
		}
		users = append(users, User{PID: pid, Name: string(bytes.TrimSpace(comm)), UID: uid, ID: h.cgroupID(pid)})
	})
	return users, err
}

// uidOf reads a process's real user id from its status (proc_pid_status(5)); the
// owner of its directory is root for a process that must not be dumped.
func (h Host) uidOf(pid int) (uint32, bool) {
	uids, err := h.uids(pid)
	if err != nil || len(uids) == 0 {
		return 0, false
	}
	uid, err := strconv.ParseUint(uids[0], 10, 32)
	return uint32(uid), err == nil
}

// cgroupID returns the id of the VM in whose unit's cgroup a process is.
func (h Host) cgroupID(pid int) string {
	data, err := h.table().Read(pid, "cgroup")
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
