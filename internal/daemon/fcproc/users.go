package fcproc

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"banger/internal/vmid"
)

// User is a process that runs with a VM's user id.
type User struct {
	PID  int
	Name string // what the kernel calls it, proc_pid_comm(5)
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
		info, err := os.Stat(filepath.Join(h.Proc, e.Name()))
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid < from || st.Uid >= below {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(h.Proc, e.Name(), "comm"))
		if err != nil {
			continue
		}
		users = append(users, User{PID: pid, Name: string(bytes.TrimSpace(comm)), ID: h.cgroupID(e.Name())})
	}
	return users, nil
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
