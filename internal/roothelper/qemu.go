package roothelper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/driver/firecracker"
	"banger/internal/driver/qemu"
	"banger/internal/host/fsx"
	"banger/internal/rootapi"
)

// QEMU has no jailer. Its unit is its jail: systemd gives it the VM's user id, the VM's
// network namespace, no capability, only its own devices, and a file system that it cannot
// write. It needs the host's libraries, so its root directory stays the host's.

// LaunchArg makes this program the launcher that a QEMU's unit runs: it binds the sockets that
// QEMU serves, changes to the VM's user, and executes QEMU. So clients can connect to the
// sockets from the first moment, and the jail belongs to root from the beginning.
const LaunchArg = "launch"

// prepareQEMU implements prepare for QEMU.
func (h *Helper) prepareQEMU(ctx context.Context, c rootapi.VMStartCall, uid int, logs []*os.File) (*start, error) {
	program, err := h.programs.qemu(h.Settings)
	if err != nil {
		return nil, err
	}
	j, err := h.makeJail(ctx, c.ID, qemuProgram, uid)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		h.fill(j, c, uid),
		os.Symlink(filepath.Join(j.root, qemuMonitor), h.shortSocket(c.ID)),
	)
	if err != nil {
		return nil, diskError("fill the jail", err)
	}
	u := h.unit(c, logs)
	u.Exec = literal(append([]string{h.Settings.Self, LaunchArg, strconv.Itoa(uid), j.root, program}, qemuArgs(c, j)...))
	u.Sandbox = qemuSandbox(u.Sandbox, c, j.root)
	return &start{jail: j, unit: u}, nil
}

// literal escapes arguments so that systemd does not replace variables in them: the kernel's
// command line may contain a "$" (systemd.service(5), "Command lines").
func literal(args []string) []string {
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "$", "$$")
	}
	return args
}

// netnsDir is the directory of named network namespaces (ip-netns(8)).
const netnsDir = "/run/netns"

// qemuArgs returns QEMU's arguments for a VM in system mode.
func qemuArgs(c rootapi.VMStartCall, j jail) []string {
	return qemu.SystemArgs(driver.Spec{
		ID: c.ID, Dir: j.root, VCPUs: c.VCPUs, MemoryBytes: c.MemoryMiB << 20,
		Kernel:    filepath.Join(j.root, firecracker.KernelFile),
		Initramfs: filepath.Join(j.root, firecracker.InitramfsFile),
		Cmdline:   c.Cmdline, Disk: filepath.Join(j.root, firecracker.DiskFile), DiskFormat: disk.Raw, NoNetwork: c.NoNetwork,
	}, c.Accel, qemu.Files{QMP: monitorFD, Agent: agentFD, Console: consoleFD})
}

// The descriptors that QEMU inherits from the launcher.
const (
	monitorFD = 3
	agentFD   = 4
	consoleFD = 5
)

// kvmGroup returns the group that may open /dev/kvm, if there is one. Firecracker's jailer
// creates a node for the VM instead.
func kvmGroup() []int {
	var st unix.Stat_t
	if unix.Stat("/dev/kvm", &st) != nil || st.Gid == 0 {
		return nil
	}
	return []int{int(st.Gid)}
}

// becomeUser drops root permanently: setuid(2) by root changes all three ids and drops every
// capability. Package syscall does it in all threads; unix.Setgroups would do it in one, and
// another thread may execute QEMU.
func becomeUser(uid int) error {
	if err := errors.Join(syscall.Setgroups(kvmGroup()), syscall.Setgid(uid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("cannot become user %d: %w", uid, err)
	}
	return nil
}

// Launch binds QEMU's sockets in the directory and executes QEMU. It returns only if that
// failed. Standard output is the console's log, standard error QEMU's.
func Launch(args []string) error {
	if len(args) < 3 {
		return api.Errorf(api.KindInvalid, "%s UID DIRECTORY PROGRAM ARGUMENTS: it is started by bangerd-root", LaunchArg)
	}
	uid, err := strconv.Atoi(args[0])
	if err == nil && uid <= 0 {
		err = api.Errorf(api.KindInvalid, "%d is not a VM's user id", uid)
	}
	if err != nil {
		return err
	}
	dir, program := args[1], args[2]
	agent, err := fsx.ListenUnix(filepath.Join(dir, qemuAgent))
	if err != nil {
		return err
	}
	// The last one: the helper waits for it.
	monitor, err := fsx.ListenUnix(filepath.Join(dir, qemuMonitor))
	if err != nil {
		return err
	}
	monitorFile, err := monitor.File()
	if err != nil {
		return err
	}
	agentFile, err := agent.File()
	if err != nil {
		return err
	}
	if err := becomeUser(uid); err != nil {
		return err
	}
	return become(program, args[3:], []*os.File{os.Stderr, os.Stderr, monitorFile, agentFile, os.Stdout})
}

// become executes a program with files as its descriptors from 1 on.
func become(program string, args []string, files []*os.File) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return err
	}
	// First move them above the numbers that they will have.
	var high []int
	for _, f := range files {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 64)
		if err != nil {
			return err
		}
		high = append(high, fd)
	}
	for i, fd := range high {
		if err := unix.Dup3(fd, i+1, 0); err != nil {
			return fmt.Errorf("cannot duplicate a descriptor: %w", err)
		}
	}
	return syscall.Exec(path, append([]string{path}, args...), []string{"LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin"})
}
