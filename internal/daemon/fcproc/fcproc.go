// Package fcproc finds the process that runs a VM in system mode, and proves
// that it is that process before anything is done to it.
//
// Everything that leads to a process is a hint: the pid in handles.json, the members of a cgroup, the
// jailer's pidfile. The pidfile is in a directory that the VM's own uid can write. So each hint is
// followed to a pidfd, and its process is checked for properties that only root can have given it: uid,
// cgroup, and root directory. Command lines are not hints: anybody can set their own, of any length and
// number.
//
// Reading another user's root directory needs CAP_SYS_PTRACE (proc_pid_root(5)), signalling that user's
// process CAP_KILL (pidfd_send_signal(2)).
package fcproc

import (
	"bytes"
	"context"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/host/proc"
)

// Firecracker is the name of the VMM's process, and of the program that the
// jailer runs.
const Firecracker = "firecracker"

// Host gives access to processes and cgroups: those of this host, or of directories with the same
// layout.
type Host struct {
	Proc   string // proc(5)
	Cgroup string // the hierarchy of cgroups(7), version 2
}

// System returns this host, with its cgroups at systemd's mount point.
func System() Host { return Host{Proc: "/proc", Cgroup: "/sys/fs/cgroup"} }

// scanTime bounds FindPID: it reads all processes of the host, of which any user can start thousands,
// and a read waits while its process changes its memory.
const scanTime = 10 * time.Second

// FindPID returns the pid of the VMM with the host-side API socket apiSock on
// this host; see Host.FindPID.
func FindPID(apiSock string) (int, error) { return System().FindPID(apiSock) }

// FindPID returns the pid of the newest process whose command line names
// apiSock, like pgrep -n -f, except that the path is literal and searched for in the first 8 KiB
// (proc.MaxCmdline). If there is none, it follows the symlink apiSock into the chroot and returns the pid
// in firecracker.pid there, if that is a firecracker with this chroot. It takes ten seconds at most.
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
	// A short text would be in many command lines.
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

// chrooted returns the pid in the pidfile beside the socket.
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
