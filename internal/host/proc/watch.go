package proc

import (
	"errors"

	"golang.org/x/sys/unix"
)

// watch waits for the process's end. A pidfd becomes readable then
// (pidfd_open(2)), so the runtime's poller waits and no thread is blocked.
func (p *Process) watch() {
	defer close(p.idle)
	conn, err := p.file.SyscallConn()
	if err != nil {
		return
	}
	ended := false
	_ = conn.Read(func(fd uintptr) bool {
		if ended = readable(int(fd)); ended {
			p.exit = reap(int(fd))
		}
		return ended
	})
	if ended {
		close(p.done)
	}
}

func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// The layout of siginfo_t for SIGCHLD on 64-bit Linux (asm-generic/siginfo.h).
const (
	siginfoCode   = 8  // si_code
	siginfoStatus = 24 // si_status

	cldExited = 1 // CLD_EXITED: si_status is the exit status, otherwise the signal
)

// reap collects the status of an ended process if it is a child of this one, so that no
// zombie stays, and returns -1 otherwise.
func reap(pidfd int) int {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1 // ECHILD: its parent or init reaps it
		}
		return exitCode(&info)
	}
}
