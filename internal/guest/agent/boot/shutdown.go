package bootup

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// termWait is the time between SIGTERM and SIGKILL if the host has set none.
const termWait = 5 * time.Second

// killWait bounds how long killed processes may take to end; one that writes to the disk takes a
// moment.
const killWait = 2 * time.Second

// onSignals returns a context that ends when a signal asks the agent to end: the kernel's
// ctrl-alt-del, `kill 1`, or an init that shuts down. Until stop is called these signals have no
// other effect.
func onSignals(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	return signal.NotifyContext(parent, unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPWR)
}

// ignoreSignals prevents signals from ending this process, and with it the guest: the kernel
// protects an init from signals that it does not handle, but Go's runtime handles all of them
// (os/signal).
func ignoreSignals() {
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGSTKFLT)
}

// shutDown ends all processes, which have the time wait after SIGTERM, writes everything to disk
// and ends the guest.
func shutDown(boot agentproto.Boot, reboot bool, wait time.Duration) {
	unix.Sync() // data that the commands have saved
	endProcesses(wait)
	unmountAll()
	say("stopped")
	end(boot, reboot)
}

// endProcesses asks every process to end, waits, and kills what is left.
func endProcesses(wait time.Duration) {
	// Shells ignore SIGTERM; processes with a terminal get SIGHUP.
	all := processes()
	_ = unix.Kill(-1, unix.SIGTERM)
	for _, p := range all {
		if p.terminal {
			_ = unix.Kill(p.pid, unix.SIGHUP)
		}
	}
	_ = unix.Kill(-1, unix.SIGCONT) // a stopped process cannot end
	awaitEnd(all, wait)
	unix.Sync() // data that the other processes have saved
	all = processes()
	_ = unix.Kill(-1, unix.SIGKILL)
	awaitEnd(all, killWait)
}

// userProcess is a process of user space.
type userProcess struct {
	pid      int
	terminal bool // it has a controlling terminal
}

// processes lists all of user space but init and this one.
func processes() []userProcess {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []userProcess
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		if p, ok := parseStat(pid, stat); ok {
			found = append(found, p)
		}
	}
	return found
}

// parseStat reads proc_pid_stat(5), whose second field may hold anything in parentheses. It skips
// threads of the kernel and zombies.
func parseStat(pid int, stat []byte) (userProcess, bool) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return userProcess{}, false
	}
	// state ppid pgrp session tty_nr tpgid flags
	field := strings.Fields(string(stat[i+1:]))
	if len(field) < 7 || field[0] == "Z" || field[0] == "X" {
		return userProcess{}, false
	}
	flags, err := strconv.ParseUint(field[6], 10, 64)
	const kernelThread = 0x00200000 // PF_KTHREAD, include/linux/sched.h
	if err != nil || flags&kernelThread != 0 {
		return userProcess{}, false
	}
	return userProcess{pid: pid, terminal: field[4] != "0"}, true
}

// awaitEnd waits until the processes have ended, for wait at most.
func awaitEnd(all []userProcess, wait time.Duration) {
	deadline := time.Now().Add(wait)
	for _, p := range all {
		fd, err := unix.PidfdOpen(p.pid, 0)
		if err != nil {
			continue // gone
		}
		for {
			left := max(0, time.Until(deadline).Milliseconds())
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left))
			if err != unix.EINTR {
				break
			}
		}
		unix.Close(fd)
	}
}

// unmountAll unmounts every file system, the newest mount first, or makes it read-only if it
// cannot be unmounted.
func unmountAll() {
	unix.Sync()
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		say("list mounts: %v", err)
	}
	targets := mountTargets(string(table))
	for i := len(targets) - 1; i >= 0; i-- {
		target := targets[i]
		if target == "/" || target == "/proc" || target == "/dev" || target == "/sys" {
			continue
		}
		if unix.Unmount(target, 0) != nil {
			_ = unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		say("make the root read-only: %v", err)
	}
	unix.Sync()
}

// mountTargets reads the second fields of proc_pid_mounts(5), in which white
// space and backslashes are octal escapes.
func mountTargets(table string) []string {
	var targets []string
	for line := range strings.Lines(table) {
		if field := strings.Fields(line); len(field) >= 2 {
			targets = append(targets, unescape.Replace(field[1]))
		}
	}
	return targets
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// end ends the guest by reboot(2). It does not return.
func end(boot agentproto.Boot, reboot bool) {
	unix.Sync()
	how := unix.LINUX_REBOOT_CMD_POWER_OFF
	if mustReset(boot, reboot) {
		how = unix.LINUX_REBOOT_CMD_RESTART
	}
	if err := unix.Reboot(how); err != nil {
		say("power off: %v", err)
	}
	select {}
}

// mustReset reports whether the guest has to end by a reset. Firecracker has no power switch: its
// ACPI tables have no sleep state S5, so Linux would halt forever; a reset by the keyboard
// controller ends it (its FAQ.md, "How can I gracefully poweroff the guest?").
func mustReset(boot agentproto.Boot, reboot bool) bool { return reboot || boot.Vsock }
