package roothelper

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/host/systemd"
	"banger/internal/rootapi"
	"banger/internal/vmid"
)

// memoryBeside is the memory, in bytes, that a VMM needs in addition to the guest's:
// Firecracker promises 5 MiB, QEMU takes 60 MiB and a cache of translated code; pages of the
// disk in flight, which the kernel charges too, are reclaimed when necessary.
const memoryBeside = 768 << 20

// unit returns the properties that the units of both VMMs share.
//
// It has no LimitFSIZE: the logs are trimmed by punching holes (package console), so their
// size only grows, and SIGXFSZ would end a VMM that writes much.
func (h *Helper) unit(c rootapi.VMStartCall, logs []*os.File) systemd.Unit {
	return systemd.Unit{
		Name: vmid.Unit(c.ID), Description: "banger VM " + c.ID, Slice: vmid.Slice,
		Stdout: logs[0], Stderr: logs[1],
		MemoryMax: uint64(c.MemoryMiB)<<20 + memoryBeside, NoSwap: true,
		// The vCPUs, and half a processor for the devices' work.
		CPUQuota: time.Duration(c.VCPUs)*time.Second + time.Second/2, TasksMax: uint64(c.VCPUs) + 64,
		// The default, but set explicitly: otherwise systemd does not share the disk among VMs.
		IOWeight: 100,
		KillMode: "mixed", TimeoutStop: 5 * time.Second, OOMPolicy: "kill",
		Sandbox: systemd.Sandbox{
			DevicePolicy: "closed", DeviceAllow: h.devices(c),
			NoNewPrivileges: true, AddressFamilies: []string{"AF_UNIX"}, NativeSystemCalls: true,
			LockPersonality: true, RestrictRealtime: true, RestrictSUIDSGID: true, ProtectClock: true,
			ProtectHostname: true, UMask: 0o077, KeyringMode: "private",
		},
	}
}

// firecrackerSandbox is for the jailer, which runs as root until it has created the jail.
// Firecracker then has an empty root directory, no capability and a system call filter of its
// own. So only the cheap settings that change mounts are used: ProtectSystem=strict changes
// each mount of the host, of which there is one for each VM.
func firecrackerSandbox(s systemd.Sandbox) systemd.Sandbox {
	// For unshare(2), mount(2), pivot_root(2) and setns(2); for nodes; for their owner, and
	// files in directories of the VM's user; for the change to that user
	// (src/jailer/src/env.rs).
	s.CapabilityBoundingSet = []int{
		unix.CAP_SYS_ADMIN, unix.CAP_MKNOD, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_SETUID, unix.CAP_SETGID,
	}
	s.RestrictNamespaces = []uint64{unix.CLONE_NEWNS, unix.CLONE_NEWNET}
	// Firecracker filters itself with seccomp(2), and its filter since 1.14 allows mincore(2)
	// (resources/seccomp): systemd 252 has neither in a set.
	s.SystemCalls = []string{"@system-service", "@mount", "seccomp", "mincore"}
	s.MemoryDenyWriteExecute = true
	s.Files = systemd.FileView{PrivateMounts: true, ProtectHome: "yes", ProtectKernelModules: true, ProtectKernelLogs: true}
	return s
}

// hidden are directories of the host that may have sockets of its services and files that
// anybody can write: a QEMU that was taken over could connect to the sockets and leave data
// in the files. The same applies to /dev/shm and /dev/mqueue.
var hidden = []string{"/run", "/tmp", "/var"}

// qemuSandbox is for the launcher and QEMU. The launcher itself changes to the VM's user:
// systemd accepts only accounts that have a name (systemd.exec(5), User=).
func qemuSandbox(s systemd.Sandbox, c rootapi.VMStartCall, root string) systemd.Sandbox {
	s.NetworkNamespacePath = filepath.Join(netnsDir, vmid.Netns(c.ID))
	s.CapabilityBoundingSet = []int{unix.CAP_SETUID, unix.CAP_SETGID}
	s.RestrictNamespaces = []uint64{}
	s.SystemCalls = []string{"@system-service", "seccomp"}
	s.Files = systemd.FileView{
		ProtectSystem: "strict", ProtectHome: "yes",
		Empty: hidden, BindPaths: []string{root}, InaccessiblePaths: []string{"-/dev/shm", "-/dev/mqueue"},
		PrivateMounts: true, PrivateIPC: true, ProtectKernelTunables: true, ProtectKernelModules: true, ProtectKernelLogs: true,
		ProtectControlGroups: true, ProtectProc: "invisible",
	}
	return s
}

// The character devices that VMMs use, by their numbers (linux/miscdevice.h): systemd ignores
// a path that does not exist, and the jailer creates its own nodes.
const (
	miscMajor = 10
	tunMinor  = 200
	kvmMinor  = 232
)

// devices returns the devices that a VMM may open and for which the jailer may create nodes.
func (h *Helper) devices(c rootapi.VMStartCall) []systemd.Device {
	access := "rw"
	if c.VMM == rootapi.Firecracker {
		access = "rwm"
	}
	allow := []systemd.Device{char(kvmMinor, access), char(tunMinor, access)}
	if minor, found := userfaultfd(h.Host.Proc); found && c.VMM == rootapi.Firecracker {
		allow = append(allow, char(minor, "m"))
	}
	if d, found, err := h.Blocks.Lookup(c.ID); err == nil && found {
		allow = append(allow, systemd.Device{Path: fmt.Sprintf("/dev/block/%d:%d", d.Major, d.Minor), Access: "rw"})
	}
	return allow
}

func char(minor int, access string) systemd.Device {
	return systemd.Device{Path: fmt.Sprintf("/dev/char/%d:%d", miscMajor, minor), Access: access}
}

// userfaultfd returns the minor number of /dev/userfaultfd, which differs at each boot.
// Jailers from 1.5 on also look it up in /proc/misc, and create the node in every jail if it
// exists (src/jailer/src/env.rs). Nothing opens it: only a snapshot that is restored with a
// page-fault handler would.
func userfaultfd(proc string) (minor int, found bool) {
	f, err := os.Open(filepath.Join(proc, "misc"))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[1] == "userfaultfd" {
			minor, err = strconv.Atoi(words[0])
			return minor, err == nil
		}
	}
	return 0, false
}
