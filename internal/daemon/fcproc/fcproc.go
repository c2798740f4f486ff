// Package fcproc finds the process that runs a VM in system mode, and proves
// that it is that process before anything is done to it.
//
// All that leads to a process is a hint: the pid in handles.json, a command
// line, the jailer's pidfile, the members of a cgroup. The pidfile lies in a
// directory that the VM's own uid can write; anybody can write his command
// line. So each hint is followed to a pidfd, and what that holds is compared
// with what only root can have given it: uid, cgroup, and root directory.
//
// To look at another user's root directory takes CAP_SYS_PTRACE
// (proc_pid_root(5)), to signal his process CAP_KILL (pidfd_send_signal(2)).
package fcproc

import (
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/proc"
)

// Firecracker is the name of the VMM's process, and of the program that the
// jailer runs.
const Firecracker = "firecracker"

// Host is where processes and cgroups are looked at: this host, or directories
// that look like it.
type Host struct {
	Proc   string // proc(5)
	Cgroup string // the hierarchy of cgroups(7), version 2
}

// System is this host, with its cgroups where systemd mounts them.
func System() Host { return Host{Proc: "/proc", Cgroup: "/sys/fs/cgroup"} }

// FindPID returns the pid of the VMM with the host-side API socket apiSock on
// this host; see Host.FindPID.
func FindPID(apiSock string) (int, error) { return System().FindPID(apiSock) }

// FindPID returns the pid of the newest process whose command line names
// apiSock, as pgrep -n -f would, save that the path is taken literally. Where
// there is none, it follows the symlink apiSock into the chroot and returns
// what firecracker.pid says there, if that is a firecracker with this chroot.
//
// A pid is no identity: to signal the process, use Find.
func (h Host) FindPID(apiSock string) (int, error) {
	pids, err := h.byCommandLine(apiSock)
	if err == nil && len(pids) > 0 {
		return pids[0], nil
	}
	var pid int
	if err == nil {
		pid, err = h.chrooted(apiSock)
	}
	if err != nil {
		return 0, api.Errorf(kindOf(err), "cannot find the process that serves %s: %w", apiSock, err).
			WithHint("`banger vm list` shows which VMs run")
	}
	return pid, nil
}

// byCommandLine returns the pids of the processes whose command line, its
// arguments joined by spaces, names the socket: the newest first.
func (h Host) byCommandLine(socket string) ([]int, error) {
	// A short text would be in many a command line.
	if !filepath.IsAbs(socket) || filepath.Clean(socket) != socket || filepath.Dir(socket) == socket {
		return nil, api.Errorf(api.KindInvalid, "%q is no absolute path of a socket", socket)
	}
	return h.table().Newest(func(args []string) bool {
		return strings.Contains(strings.Join(args, " "), socket)
	})
}

// chrooted returns the pid that the pidfile beside the socket names.
func (h Host) chrooted(socket string) (int, error) {
	root, err := openChroot(socket)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	pid, err := readPidfile(root)
	if err != nil {
		return 0, err
	}
	p, err := proc.Open(pid)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	return pid, h.prove(p, Query{Name: Firecracker, Root: root}, isNamed, isRooted)
}

func (h Host) table() proc.Table { return proc.Table{Root: h.Proc} }
