package sockets

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// name finds the processes that have sockets open: of several, the oldest pid.
func (t Table) name(all []Socket) {
	wanted := make(map[string][]*Socket, len(all))
	for i := range all {
		wanted[all[i].inode] = append(wanted[all[i].inode], &all[i])
	}
	for _, pid := range t.pids() {
		if len(wanted) == 0 {
			return
		}
		t.nameOf(pid, wanted)
	}
}

func (t Table) pids() []int {
	dir, err := os.Open(t.Root)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// nameOf looks through the descriptors of one process, and takes what it finds from
// the wanted. A process that may not be looked into is passed over.
func (t Table) nameOf(pid int, wanted map[string][]*Socket) {
	process := filepath.Join(t.Root, strconv.Itoa(pid))
	dir, err := os.Open(filepath.Join(process, "fd"))
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(process, "fd", name))
		inode, isSocket := strings.CutPrefix(target, "socket:[") // proc_pid_fd(5)
		if err != nil || !isSocket {
			continue
		}
		inode = strings.TrimSuffix(inode, "]")
		for _, s := range wanted[inode] {
			s.PID, s.Process = pid, comm(process)
		}
		delete(wanted, inode)
	}
}

// comm is a process's name, which the process can set itself, to 15 bytes at most
// (proc_pid_comm(5)).
func comm(process string) string {
	name, err := os.ReadFile(filepath.Join(process, "comm"))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimSuffix(string(name), "\n"), "?")
}
