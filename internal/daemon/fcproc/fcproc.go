// Package fcproc finds the process that runs a VM in system mode, and proves
// that it is that process before anything is done to it.
//
// All that leads to a process is a hint: the pid in handles.json, the members of a
// cgroup, the jailer's pidfile. The pidfile lies in a directory that the VM's own uid
// can write. So each hint is followed to a pidfd, and what that holds is compared
// with what only root can have given it: uid, cgroup, and root directory. Command lines
// are no hint: anybody can write his own, and make it long and many.
//
// To look at another user's root directory takes CAP_SYS_PTRACE
// (proc_pid_root(5)), to signal his process CAP_KILL (pidfd_send_signal(2)).
package fcproc

import (
	"bytes"
	"context"
	"path/filepath"
	"time"

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

// scanTime bounds FindPID: it looks at all processes of the host, of which any user
// can start thousands, and a look waits while its process changes its memory.
const scanTime = 10 * time.Second

// FindPID returns the pid of the VMM with the host-side API socket apiSock on
// this host; see Host.FindPID.
func FindPID(apiSock string) (int, error) { return System().FindPID(apiSock) }

// FindPID returns the pid of the newest process whose command line names
// apiSock, as pgrep -n -f would, save that the path is taken literally and looked for
// in the first 8 KiB (proc.MaxCmdline). Where there is none, it follows the symlink
// apiSock into the chroot and returns what firecracker.pid says there, if that is a
// firecracker with this chroot. It takes ten seconds at most.
//
// A pid is not an identity, and anybody can have that command line. Nothing that signals
// a process or decides about a VM may use this: Find is for that.
func (h Host) FindPID(apiSock string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), scanTime)
	defer cancel()
	pid, err := h.byCommandLine(ctx, apiSock)
	if err == nil && pid != 0 {
		return pid, nil
	}
	if err == nil {
		pid, err = h.chrooted(apiSock)
	}
	if err != nil {
		return 0, api.Errorf(kindOf(err), "cannot find the process that serves %s: %w", apiSock, err).
			WithHint("`banger vm list` shows which VMs run")
	}
	return pid, nil
}

// byCommandLine returns the pid of the newest process whose command line, its
// arguments joined by spaces, names the socket, or 0 if there is none.
func (h Host) byCommandLine(ctx context.Context, socket string) (int, error) {
	// A short text would be in many a command line.
	if !filepath.IsAbs(socket) || filepath.Clean(socket) != socket || filepath.Dir(socket) == socket {
		return 0, api.Errorf(api.KindInvalid, "%q is not an absolute path of a socket", socket)
	}
	path := []byte(socket)
	return h.table().Newest(ctx, func(cmdline []byte) bool {
		for i, b := range cmdline {
			if b == 0 {
				cmdline[i] = ' '
			}
		}
		return bytes.Contains(cmdline, path)
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
