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

	"banger/internal/rootapi"
	"banger/internal/systemd"
	"banger/internal/vmid"
)

// What a VMM needs beside the guest's memory: Firecracker promises 5 MiB, QEMU
// takes 60 and a cache of translated code; what the kernel charges for pages of the
// disk that are on their way is reclaimed when it must be.
const memoryBeside = 768 << 20

// unit is what the units of both VMMs have in common.
//
// It has no LimitFSIZE: the logs are trimmed by punching holes (package console), so
// that their size only grows, and a VMM that talks much would be ended by SIGXFSZ.
func (h *Helper) unit(c rootapi.VMStartCall, logs []*os.File) systemd.Unit {
	return systemd.Unit{
		Name: vmid.Unit(c.ID), Description: "banger VM " + c.ID, Slice: vmid.Slice,
		Stdout: logs[0], Stderr: logs[1],
		MemoryMax: uint64(c.MemoryMiB)<<20 + memoryBeside, NoSwap: true,
		// The vCPUs, and half a processor for the devices' work.
		CPUQuota: time.Duration(c.VCPUs)*time.Second + time.Second/2, TasksMax: uint64(c.VCPUs) + 64,
		// The default, but said: so systemd shares the disk out among the VMs at all.
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

// firecrackerSandbox is for the jailer, which is root until it has made the jail.
// Firecracker then has a root directory with nothing in it, no capability and a system
// call filter of its own. So of the settings that change mounts it has the cheap ones:
// ProtectSystem=strict changes each mount of the host, and there is one for each VM.
func firecrackerSandbox(s systemd.Sandbox) systemd.Sandbox {
	// unshare(2), mount(2), pivot_root(2) and setns(2); nodes; their owner, and files in
	// directories of the VM's user; the change to that user (src/jailer/src/env.rs).
	s.CapabilityBoundingSet = []int{
		unix.CAP_SYS_ADMIN, unix.CAP_MKNOD, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_SETUID, unix.CAP_SETGID,
	}
	s.RestrictNamespaces = []uint64{unix.CLONE_NEWNS, unix.CLONE_NEWNET}
	// Firecracker filters itself with seccomp(2), and its filter since 1.14 has mincore(2)
	// (resources/seccomp): neither is in a set of systemd 252's.
	s.SystemCalls = []string{"@system-service", "@mount", "seccomp", "mincore"}
	s.MemoryDenyWriteExecute = true
	s.Files = systemd.FileView{PrivateMounts: true, ProtectHome: "yes", ProtectKernelModules: true, ProtectKernelLogs: true}
	return s
}

// hidden are directories of the host in which there may be sockets of its services
// and files that anybody can write: a QEMU that was taken over could talk to the ones and
// leave data behind in the others. The same for /dev/shm and /dev/mqueue.
var hidden = []string{"/run", "/tmp", "/var"}

// qemuSandbox is for the launcher and QEMU. The launcher changes to the VM's user by
// itself: systemd takes only accounts that have a name (systemd.exec(5), User=).
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

// The character devices that VMMs use, by their numbers (linux/miscdevice.h): systemd
// ignores a path that is not there, and the jailer makes nodes of its own.
const (
	miscMajor = 10
	tunMinor  = 200
	kvmMinor  = 232
)

// devices are what a VMM may open and, for the jailer, make nodes of.
func (h *Helper) devices(c rootapi.VMStartCall) []systemd.Device {
	access := "rw"
	if c.VMM == rootapi.Firecracker {
		access = "rwm"
	}
	allow := []systemd.Device{char(kvmMinor, access), char(tunMinor, access)}
	if minor, found := h.userfaultfd(); found && c.VMM == rootapi.Firecracker {
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

// userfaultfd returns the minor number of /dev/userfaultfd, which is another at each
// boot. Jailers from 1.5 on look it up in /proc/misc, too, and make the node in every
// jail if it is there (src/jailer/src/env.rs). Nothing opens it: only a snapshot that
// is restored with a page-fault handler would.
func (h *Helper) userfaultfd() (minor int, found bool) {
	f, err := os.Open(filepath.Join(h.Host.Proc, "misc"))
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
