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
	left := maxLinks
	for _, pid := range t.pids() {
		if len(wanted) == 0 || left <= 0 {
			return
		}
		left -= t.nameOf(pid, wanted, left)
	}
}

const (
	// maxLinks bounds how many descriptors are looked at: any user may have very many.
	// A socket is without a process where that is not enough.
	maxLinks = 1 << 20
	// batch is how many names of a directory are held at once.
	batch = 256
)

// names calls look with the names in a directory while it says yes.
func names(path string, look func(name string) bool) {
	dir, err := os.Open(path)
	if err != nil {
		return
	}
	defer dir.Close()
	for {
		some, err := dir.Readdirnames(batch)
		if err != nil {
			return
		}
		for _, name := range some {
			if !look(name) {
				return
			}
		}
	}
}

func (t Table) pids() []int {
	var pids []int
	names(t.Root, func(name string) bool {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
		return true
	})
	slices.Sort(pids)
	return pids
}

// nameOf looks through the descriptors of one process, and takes what it finds from
// the wanted; it returns how many it looked at, most at most. A process that may
// not be looked into is passed over.
func (t Table) nameOf(pid int, wanted map[string][]*Socket, most int) (looked int) {
	process := filepath.Join(t.Root, strconv.Itoa(pid))
	names(filepath.Join(process, "fd"), func(name string) bool {
		looked++
		target, err := os.Readlink(filepath.Join(process, "fd", name))
		inode, isSocket := strings.CutPrefix(target, "socket:[") // proc_pid_fd(5)
		if err != nil || !isSocket {
			return looked < most
		}
		inode = strings.TrimSuffix(inode, "]")
		for _, s := range wanted[inode] {
			s.PID, s.Process = pid, comm(process)
		}
		delete(wanted, inode)
		return looked < most && len(wanted) > 0
	})
	return looked
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
