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

	"banger/internal/agentproto"
)

// serveArg is the argument of the agent that serves beside an image's own init.
const serveArg = "serve"

// besideName is what that agent is called by: systemd's last killing spree spares
// what root has started under a name that begins with "@"
// (systemd.io/ROOT_STORAGE_DAEMONS), so that the host hears of the guest to the end,
// and after a soft reboot.
const besideName = "@banger-agent"

// initFD is the descriptor by which the agent that is beside the init hears of it.
const initFD = 3

// agentCgroup is where the agent is, and the commands that it runs: an init moves
// what it finds in the root of the hierarchy into a group of its own.
const agentCgroup = "/sys/fs/cgroup/banger-agent"

// handOver starts the agent as a child and becomes the image's own init. The agent
// opens the way to the host before there is another process, and answers only once
// this one has become the init: what cannot be started never answers, so the host
// sees a failed start, with the reason as the last line of the console.
func handOver(boot agentproto.Boot) error {
	if err := executable(boot.Init); err != nil {
		return fmt.Errorf("the image has no init that could be started: %w (vm create --init agent needs none)", err)
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
	// What the kernel starts an init with (init/main.c, envp_init). pair[0] is closed
	// by a success, and by nothing else.
	err = syscall.Exec(boot.Init, []string{boot.Init}, []string{"HOME=/", "TERM=linux"})
	return fmt.Errorf("start the image's init %s: %w", boot.Init, err)
}

// executable refuses what cannot be an init.
func executable(path string) error {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s is no program", path)
	}
	return err
}

// startBeside starts the agent that serves, with fd as its initFD. The initramfs is
// gone, but the kernel still has the file that this process runs from.
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

// awaitByte waits for the agent to say that it has a way to the host.
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

// awaitInit tells the process that started this one that it may become the init, and
// waits until it is: the descriptor's other end is closed by that.
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
		fmt.Fprintln(os.Stderr, "banger-agent is the first process of a banger guest, and of no use elsewhere")
		return 2
	}
	boot, err := readBoot()
	if err != nil {
		say("the agent ended: %v", err)
		return 1
	}
	if err := enterCgroup(agentCgroup); err != nil {
		say("make a cgroup for the agent: %v", err) // it is of use without
	}
	ctx, stop := onSignals(context.Background())
	end, err := serve(ctx, version, boot, awaitInit)
	told := ctx.Err() != nil
	stop()
	switch {
	case err != nil:
		say("the agent ended: %v", err)
		return 1
	case told: // the image's init ends the guest: it must not wait for this process
		return 0
	}
	endInit(boot, end.reboot, time.Until(end.by))
	return 0
}

// The signals by which systemd(1) is asked for a target. It means SIGRTMIN as C
// libraries count, which keep two for themselves.
const (
	startPoweroff = unix.Signal(34 + 4)
	startReboot   = unix.Signal(34 + 5)
)

// endInit asks the image's own init to end the guest, and does it itself when that
// is none that knows how, or takes too long.
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

// initShare divides the time that the host gives the guest for its end: the init
// gets most of it, what is left has to do for what it did not end.
func initShare(grace time.Duration) (patience, wait time.Duration) {
	return grace * 3 / 4, min(termWait, grace/8)
}

// listening is how often the init is looked at until it listens: nothing announces
// that a process has installed its signal handlers.
const listening = 50 * time.Millisecond

// askInit sends process 1 a signal as soon as it is heard: the kernel drops what an
// init does not listen to yet. It returns when time is up; the guest's end comes
// before.
func askInit(sig unix.Signal, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for !hears(sig) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the image's init does not listen")
		}
		time.Sleep(listening)
	}
	if err := unix.Kill(1, sig); err != nil {
		return fmt.Errorf("tell the image's init to end: %w", err)
	}
	time.Sleep(time.Until(deadline))
	return fmt.Errorf("the image's init has not ended the guest within %v", patience)
}

func hears(sig unix.Signal) bool {
	status, err := os.ReadFile("/proc/1/status")
	return err == nil && listensTo(string(status), sig)
}

// listensTo tells from proc_pid_status(5) whether a process has a use for a signal:
// it catches it, or blocks it to read it from a descriptor.
func listensTo(status string, sig unix.Signal) bool {
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
	// It calls itself so a moment after it was started by the name of init.
	exe, err := os.Readlink("/proc/1/exe")
	if err != nil {
		return ""
	}
	return filepath.Base(exe)
}
