package bootup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// serveArg is the argument of the agent that serves beside an image's own init.
const serveArg = "serve"

// besideName is the name of that agent's process: at shutdown systemd does not kill processes of
// root whose name begins with "@" (systemd.io/ROOT_STORAGE_DAEMONS), so that the host can reach
// the agent to the end, and after a soft reboot.
const besideName = "@banger-agent"

// initFD is the descriptor by which the agent beside the init learns that the init has started.
const initFD = 3

// agentCgroup is the cgroup of the agent: an init moves processes in the root of the hierarchy into its
// own group. What the agent starts is in another (package freezer).
const agentCgroup = "/sys/fs/cgroup/banger-agent"

// handOver starts the agent as a child and executes the image's own init. The agent opens the
// connection to the host before there is another process, and answers only once this process has
// become the init: if the init cannot be started, the agent never answers, and the host sees a
// failed start with the reason as the last line of the console.
func handOver(boot agentproto.Boot) error {
	if err := executable(boot.Init); err != nil {
		return fmt.Errorf("the image has no init that can be started: %w (vm create --init agent does not need one)", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("start the agent beside %s: %w", boot.Init, err)
	}
	if err := startBeside(pair[1]); err != nil {
		return fmt.Errorf("start the agent beside %s: %w", boot.Init, err)
	}
	unix.Close(pair[1])
	if err := awaitByte(pair[0]); err != nil {
		return fmt.Errorf("the agent that was to be beside %s: %w", boot.Init, err)
	}
	say("starting %s", boot.Init)
	// The environment with which the kernel starts an init (init/main.c, envp_init). Only a
	// success closes pair[0].
	err = syscall.Exec(boot.Init, []string{boot.Init}, []string{"HOME=/", "TERM=linux"})
	return fmt.Errorf("start the image's init %s: %w", boot.Init, err)
}

// executable refuses files that cannot be an init.
func executable(path string) error {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s is not a program", path)
	}
	return err
}

// startBeside starts the serving agent, with fd as its initFD. The initramfs is gone, but the
// kernel still has the file that this process runs from.
func startBeside(fd int) error {
	attr := &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2, uintptr(fd)}, Sys: &syscall.SysProcAttr{Setsid: true},
	}
	_, err := syscall.ForkExec("/proc/self/exe", []string{besideName, serveArg}, attr)
	return err
}

// enterCgroup moves this process into a new group (cgroups(7)).
func enterCgroup(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(path, "cgroup.procs"), []byte("0"), 0)
}

// awaitByte waits for the agent's report that it has a connection to the host.
func awaitByte(fd int) error {
	for {
		n, err := unix.Read(fd, make([]byte, 1))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			return errors.New("it ended")
		default:
			return nil
		}
	}
}

// awaitInit tells the parent process that it may become the init, and waits until it has: this
// closes the other end of the descriptor.
func awaitInit() error {
	init := os.NewFile(initFD, "init")
	defer init.Close()
	if _, err := init.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, init)
	return err
}

// beside is the agent as a child of the image's init.
func beside(version string) int {
	if len(os.Args) != 2 || os.Args[1] != serveArg {
		fmt.Fprintln(os.Stderr, "banger-agent is the first process of a banger guest, and cannot run elsewhere")
		return 2
	}
	boot, err := readBoot()
	if err != nil {
		say("the agent ended: %v", err)
		return 1
	}
	if err := enterCgroup(agentCgroup); err != nil {
		say("make a cgroup for the agent: %v", err) // it works without one
	}
	ctx, stop := onSignals(context.Background())
	end, err := serve(ctx, version, boot, awaitInit)
	told := ctx.Err() != nil
	stop()
	switch {
	case err != nil:
		say("the agent ended: %v", err)
		return 1
	case told: // the image's init ends the guest and must not wait for this process
		return 0
	}
	endInit(boot, end.reboot, time.Until(end.by))
	return 0
}

// The signals that make systemd(1) start a target. SIGRTMIN is counted as in C libraries, which
// reserve two signals.
const (
	startPoweroff = unix.Signal(34 + 4)
	startReboot   = unix.Signal(34 + 5)
)

// endInit asks the image's own init to end the guest, and does it itself if that init does not
// support it or takes too long.
func endInit(boot agentproto.Boot, reboot bool, grace time.Duration) {
	patience, wait := initShare(grace)
	how := startPoweroff
	if mustReset(boot, reboot) {
		how = startReboot
	}
	if initName() == systemd {
		if err := askInit(how, patience); err != nil {
			say("%s: ending the guest without it", err)
		}
	}
	shutDown(boot, reboot, wait)
}

// initShare divides the time that the host gives the guest for its end: the init gets most of
// it, the rest is for the processes that the init did not end.
func initShare(grace time.Duration) (patience, wait time.Duration) {
	return grace * 3 / 4, min(termWait, grace/8)
}

// listening is how often the init is checked for signal handlers: nothing announces that a
// process has installed them.
const listening = 50 * time.Millisecond

// askInit sends process 1 a signal as soon as the process handles it: the kernel drops signals
// that an init does not handle. It returns when the time is over; usually the guest ends first.
func askInit(sig unix.Signal, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for !handlesSignal(sig) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the image's init does not handle the signal")
		}
		time.Sleep(listening)
	}
	if err := unix.Kill(1, sig); err != nil {
		return fmt.Errorf("tell the image's init to end: %w", err)
	}
	time.Sleep(time.Until(deadline))
	return fmt.Errorf("the image's init has not ended the guest within %v", patience)
}

func handlesSignal(sig unix.Signal) bool {
	status, err := os.ReadFile("/proc/1/status")
	return err == nil && statusHandles(string(status), sig)
}

// statusHandles reports from proc_pid_status(5) whether a process handles a signal: it catches
// it, or blocks it to read it from a descriptor.
func statusHandles(status string, sig unix.Signal) bool {
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		if key != "SigBlk" && key != "SigCgt" {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err == nil && mask&(1<<(sig-1)) != 0 {
			return true
		}
	}
	return false
}

const systemd = "systemd"

// initName is the name of the program that is process 1.
func initName() string {
	comm, err := os.ReadFile("/proc/1/comm")
	if err == nil && strings.TrimSpace(string(comm)) == systemd {
		return systemd
	}
	// It sets this name shortly after it was started under the name of init.
	exe, err := os.Readlink("/proc/1/exe")
	if err != nil {
		return ""
	}
	return filepath.Base(exe)
}
