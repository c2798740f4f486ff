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

// CloseOnExec marks all descriptors except standard input, output and error as closed on
// exec, so that programs started from now on inherit only the files that they are given.
// Files that this program opens are marked already; files that it inherited may not be:
// root's shell, cron and configuration managers pass on files that nobody else may read.
func CloseOnExec() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// A kernel before 5.11 (close_range(2)).
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot list the open files: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// start starts a program. A program that runs as another user inherits nothing that exceeds
// that user's rights. ended is closed once the program was waited for.
func start(cmd *exec.Cmd, ended <-chan struct{}) error {
	if err := CloseOnExec(); err != nil {
		return err
	}
	somebodyElse := otherUser(cmd.SysProcAttr)
	if !somebodyElse && cmd.SysProcAttr.Pdeathsig == 0 {
		return cmd.Start()
	}
	started := make(chan error, 1)
	go func() {
		// The changes apply to this thread only, which is never unlocked and so ends with the
		// goroutine. A program inherits from the thread that started it, and Pdeathsig (prctl(2))
		// is sent when that thread ends.
		runtime.LockOSThread()
		var err error
		if somebodyElse {
			err = resetInherited()
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

// otherUser reports whether a program runs as another user than this process.
func otherUser(a *syscall.SysProcAttr) bool {
	return a.Credential != nil || a.Cloneflags&unix.CLONE_NEWUSER != 0 && os.Geteuid() == 0
}

// resetInherited gives this thread a new, empty session keyring, because whoever has a
// keyring may use its keys (session-keyring(7)), and the usual umask.
func resetInherited() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) // without a name
	// A kernel without keys, or a filter that applies to the program, too.
	if err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("cannot create a keyring: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	unix.Umask(0o022)
	return nil
}

// killable removes from a program this process's protection from the out-of-memory killer
// (proc_pid_oom_score_adj(5)), if the program still runs.
func killable(pid int) {
	ours, err := os.ReadFile("/proc/self/oom_score_adj")
	if err == nil && strings.HasPrefix(string(ours), "-") {
		_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("0"), 0)
	}
}
