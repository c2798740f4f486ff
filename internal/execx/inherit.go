package execx

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// CloseOnExec has no program that is started from now on inherit a descriptor of ours
// beside standard input, output and error, and those that it is given. What this
// program opens is closed on exec already; what it inherited itself may not be: root's
// shell, cron and configuration managers hand down files that nobody else may read.
func CloseOnExec() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// A kernel before 5.11 (close_range(2)).
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot see which files are open: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// start starts a program. One that runs as somebody else inherits nothing by which it
// could do more than that user may. ended is closed once the program was waited for.
func start(cmd *exec.Cmd, ended <-chan struct{}) error {
	if err := CloseOnExec(); err != nil {
		return err
	}
	somebodyElse := another(cmd.SysProcAttr)
	if !somebodyElse && cmd.SysProcAttr.Pdeathsig == 0 {
		return cmd.Start()
	}
	started := make(chan error, 1)
	go func() {
		// What is changed is the thread's, and goes with it: it is never unlocked. A
		// program has what the thread had that started it, and Pdeathsig (prctl(2)) is
		// sent when that thread ends.
		runtime.LockOSThread()
		var err error
		if somebodyElse {
			err = forgetOurs()
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		<-ended
	}()
	err := <-started
	if err == nil && somebodyElse {
		killable(cmd.Process.Pid)
	}
	return err
}

// another tells whether a program is not to run as the user that we are.
func another(a *syscall.SysProcAttr) bool {
	return a.Credential != nil || a.Cloneflags&unix.CLONE_NEWUSER != 0 && os.Geteuid() == 0
}

// forgetOurs gives this thread a session keyring of its own, which is empty, as who
// has a keyring may use the keys in it (session-keyring(7)); and the usual umask.
func forgetOurs() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) // without a name
	// A kernel without keys, or a filter that the program will have, too.
	if err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("cannot make a keyring: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	unix.Umask(0o022)
	return nil
}

// killable takes from a program what keeps us from being ended when memory is short
// (proc_pid_oom_score_adj(5)), as far as it still runs.
func killable(pid int) {
	ours, err := os.ReadFile("/proc/self/oom_score_adj")
	if err == nil && strings.HasPrefix(string(ours), "-") {
		_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("0"), 0)
	}
}
