package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// host is the process table of this host.
var host = Table{Root: "/proc"}

// ErrGone means that the process does not exist (any more).
var ErrGone = errors.New("no such process")

// Identity identifies a process among all that ever ran on this host.
type Identity struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // field 22 of /proc/PID/stat, proc_pid_stat(5)
	BootID    string `json:"boot_id"`
}

// Process is a process held by its pidfd. All signals go through the pidfd, so they reach
// exactly this process or none.
type Process struct {
	id   Identity
	file *os.File // the pidfd
	done chan struct{}
	exit int // valid when done is closed

	close sync.Once
	idle  chan struct{} // closed when watch has returned
}

// Open returns the process that has the pid now.
func Open(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	// The pid of a thread that is not a process gives EINVAL (pidfd_open(2)), and ENOENT on
	// newer kernels (measured on 6.18).
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("cannot open process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open process %d: %w", pid, err)
	}
	id, err := host.identity(pid)
	var p *Process
	if err == nil {
		p, err = hold(fd, id)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot open process %d: %w", pid, err)
	}
	return p, nil
}

// hold takes ownership of the pidfd. What was read about the process before is valid only
// if the process still exists.
func hold(fd int, id Identity) (*Process, error) {
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); errors.Is(err, unix.ESRCH) {
		return nil, ErrGone
	}
	// PIDFD_NONBLOCK needs Linux 5.10; this is the same on 5.3 and later.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	p := &Process{
		id:   id,
		file: os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", id.PID)),
		done: make(chan struct{}),
		idle: make(chan struct{}),
	}
	go p.watch()
	return p, nil
}

// FromPidfd returns the process of a pidfd that another program opened, whose start time in
// id is trusted. It takes ownership of the descriptor. It returns ErrGone if the process has
// ended, or is not the one that id identifies.
//
// It reads the descriptor's information, not the process's directory in /proc: if /proc hides
// other users' processes (hidepid= of proc(5)), a running process has no directory.
func FromPidfd(f *os.File, id Identity) (*Process, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("cannot hold process %d: %w", id.PID, err)
	}
	var p *Process
	if err = names(fd, id); err == nil {
		p, err = hold(fd, id)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot hold process %d: %w", id.PID, err)
	}
	return p, nil
}

// names returns ErrGone if the pidfd holds another process than id identifies, or one that
// was reaped.
func names(fd int, id Identity) error {
	boot, err := host.bootID()
	if err != nil {
		return err
	}
	pid, err := host.pidOf(fd)
	if err != nil {
		return err
	}
	if pid == reaped {
		return ErrGone
	}
	if pid != id.PID || boot != id.BootID {
		return fmt.Errorf("the descriptor holds process %d of this boot: %w", pid, ErrGone)
	}
	return nil
}

// File returns a pidfd of the process, to pass to another program.
func (p *Process) File() (*os.File, error) {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var dupErr error
	err = conn.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) })
	if err = errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("cannot duplicate the pidfd of process %d: %w", p.id.PID, err)
	}
	return os.NewFile(uintptr(fd), p.file.Name()), nil
}

// OpenIdentity returns the process that id identifies, or ErrGone.
func OpenIdentity(id Identity) (*Process, error) {
	if id.PID <= 0 {
		return nil, ErrGone
	}
	p, err := Open(id.PID)
	if err != nil {
		return nil, err
	}
	if p.id != id {
		p.Close()
		return nil, fmt.Errorf("pid %d belongs to another process now: %w", id.PID, ErrGone)
	}
	return p, nil
}

// Find returns this user's processes whose command line matches. It fails if it cannot open
// a process for another reason than its end, because that may be one of them. match gets the
// first MaxCmdline bytes and must not retain its argument.
func Find(ctx context.Context, match func(cmdline []string) bool) (found []*Process, err error) {
	pids, err := host.find(ctx, os.Getuid(), match)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	defer func() {
		if err != nil {
			for _, p := range found {
				p.Close()
			}
			found = nil
		}
	}()
	slices.Sort(pids)
	for _, pid := range pids {
		p, err := Open(pid)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return found, err
		}
		found = append(found, p)
		args, err := p.Cmdline()
		if isOwn(err) {
			return found, err
		}
		// The pid may have been reused before it was opened.
		if err != nil || !match(args) {
			p.Close()
			found = found[:len(found)-1]
		}
	}
	return found, nil
}

// Identity returns the identity of the process.
func (p *Process) Identity() Identity { return p.id }

// PID returns the pid of the process, which is meaningless once the process has ended.
func (p *Process) PID() int { return p.id.PID }

// Cmdline returns the command line of the process, at most its first MaxCmdline bytes, or
// ErrGone if the process has ended. It is empty if the process has removed it.
func (p *Process) Cmdline() ([]string, error) {
	args, err := host.cmdline(p.id.PID)
	// What was read belongs to this process if the process still exists; a zombie has none.
	if p.Ended() {
		return nil, ErrGone
	}
	return args, err
}

// Signal sends a signal through the pidfd. It returns ErrGone if the process has ended, or
// was closed since.
func (p *Process) Signal(sig unix.Signal) error {
	select {
	case <-p.done:
		return ErrGone
	default:
	}
	var err error
	conn, connErr := p.file.SyscallConn()
	if connErr != nil {
		return connErr
	}
	connErr = conn.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	if connErr != nil {
		return connErr
	}
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// Kill sends SIGKILL and waits until the process has ended, for wait at most.
func (p *Process) Kill(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, fmt.Errorf("process %d still exists %s after SIGKILL", p.id.PID, wait))
	defer cancel()
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, ErrGone) {
		return fmt.Errorf("cannot kill process %d: %w", p.id.PID, err)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done is closed when the process has ended. It is not closed by Close.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the process has ended; a zombie has. What was read in /proc under its
// pid before Ended returned false belongs to the process: a pid is reused only when its
// process has ended and was reaped.
func (p *Process) Ended() bool {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return true // closed: nothing more is known of it
	}
	ended := true
	_ = conn.Control(func(fd uintptr) { ended = readable(int(fd)) })
	return ended
}

// ExitCode returns the exit status, or 128 plus the signal, once Done is closed; -1 if the
// process was not a child of this one.
func (p *Process) ExitCode() int { return p.exit }

// Close releases the pidfd. The process itself keeps running.
func (p *Process) Close() {
	p.close.Do(func() { p.file.Close() })
	<-p.idle
}

// BootID returns the id of this boot of the host.
func BootID() (string, error) { return host.bootID() }
