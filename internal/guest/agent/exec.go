package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/stdio"
)

const (
	// hangUpGrace is the time between SIGHUP and SIGKILL for a command whose client is gone.
	hangUpGrace = 5 * time.Second
	// drainFor bounds the wait for the output of a command after its end: a background process
	// may hold it open forever.
	drainFor = time.Second
	// drainMax is more, in bytes, than an ended command can have left in a terminal; the size
	// of a pipe can be read, and the command may have changed it (pipe(7), F_SETPIPE_SZ).
	drainMax = 64 << 10
	// endOfTransmission is the terminal's default end-of-file character (termios(3)).
	endOfTransmission = 4
)

// command is a job that runs a program.
type command struct {
	server *server
	exec   api.Exec
	// resolve finds the program; prepare, unless nil, configures its terminal.
	resolve func(api.Exec) (*program, error)
	prepare func(p *program, tty *os.File) error
	onStart func() // unless nil, called once it runs
	// onEnd, unless nil, is called once the program has ended, possibly before the end of its
	// output.
	onEnd func(stdio.Exit)
	// toEOF makes the output continue as long as any process holds it open.
	toEOF bool

	mu      sync.Mutex
	child   *Child
	pending []syscall.Signal // received before the start
	tty     *os.File
	size    unix.Winsize
}

func (s *server) newCommand(exec api.Exec) *command {
	return &command{server: s, exec: exec, resolve: s.resolve, size: unix.Winsize{Row: exec.Rows, Col: exec.Cols}}
}

// streams are the client's ends of a command's standard streams.
type streams struct {
	in       io.ReadCloser
	out, err io.WriteCloser
}

// run runs the program to its end.
func (c *command) run(ctx context.Context, m *stdio.Mux) stdio.Exit {
	return c.runOn(ctx, streams{m.In(stdio.Stdin), m.Out(stdio.Stdout), m.Out(stdio.Stderr)})
}

func (c *command) runOn(ctx context.Context, s streams) stdio.Exit {
	program, err := c.resolve(c.exec)
	var p *process
	if err == nil {
		p, err = c.start(program)
	}
	var status statusError
	if errors.As(err, &status) {
		fmt.Fprintf(s.err, "banger: %s\n", status.text)
		return stdio.Exit{Code: status.code}
	}
	if err != nil {
		return stdio.Exit{Error: api.AsError(err)}
	}
	return c.follow(ctx, p, s)
}

// process is a running command and the agent's ends of its streams.
type process struct {
	child *Child
	stdin *os.File
	outs  map[int]*os.File // by stream
	held  [3]bool          // by stream: a process may still write to it
}

func (c *command) start(program *program) (*process, error) {
	p := &process{outs: map[int]*os.File{}}
	attr := &syscall.ProcAttr{Dir: program.dir,
		Sys: &syscall.SysProcAttr{Setsid: true, Credential: program.credential}}
	var theirs []*os.File
	var err error
	if c.exec.TTY {
		theirs, err = c.openTTY(p)
		attr.Sys.Setctty = true // of descriptor 0
	} else {
		theirs, err = openPipes(p)
	}
	for _, f := range theirs {
		// The program's end has to block, as programs expect.
		err = errors.Join(err, unix.SetNonblock(int(f.Fd()), false), program.own(f))
		attr.Files = append(attr.Files, f.Fd())
	}
	if err == nil && c.exec.TTY && c.prepare != nil {
		err = c.prepare(program, theirs[0])
	}
	if err == nil {
		attr.Env = program.env
		p.child, err = c.server.Reaper.Start(program.path, program.argv, attr)
	}
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		p.close()
		return nil, startError(program, err)
	}
	c.started(p)
	if c.onStart != nil {
		c.onStart()
	}
	return p, nil
}

// own gives a stream to the program's user, who could not open /dev/stdout or /dev/tty otherwise.
// The group stays: that of a terminal is tty.
func (p *program) own(f *os.File) error {
	if p.credential == nil {
		return nil
	}
	return f.Chown(int(p.credential.Uid), -1)
}

// started delivers signals and sizes from now on, including those received before.
func (c *command) started(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.child = p.child
	if c.exec.TTY {
		c.tty = p.stdin
		_ = setSize(c.tty, c.size)
	}
	for _, sig := range c.pending {
		_ = p.child.SignalGroup(sig)
	}
	c.pending = nil
}

func (c *command) openTTY(p *process) ([]*os.File, error) {
	c.mu.Lock()
	size := c.size
	c.mu.Unlock()
	master, slave, err := openTerminal(size)
	if err != nil {
		return nil, err
	}
	p.stdin, p.outs[stdio.Stdout] = master, master
	return []*os.File{slave, slave, slave}, nil
}

// openPipes creates three pipes; the program's ends block, the agent's do not.
func openPipes(p *process) (theirs []*os.File, err error) {
	for id := range 3 {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return theirs, fmt.Errorf("cannot create a pipe: %w", err)
		}
		ours, their := fds[0], fds[1]
		if id == stdio.Stdin {
			ours, their = fds[1], fds[0]
		}
		theirs = append(theirs, os.NewFile(uintptr(their), "pipe"))
		err := unix.SetNonblock(ours, true)
		file := os.NewFile(uintptr(ours), "pipe")
		if id == stdio.Stdin {
			p.stdin = file
		} else {
			p.outs[id] = file
		}
		if err != nil {
			return theirs, err
		}
	}
	return theirs, nil
}

func (p *process) close() {
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, f := range p.outs {
		f.Close()
	}
}

// follow carries the streams of a running command and returns how it ended.
func (c *command) follow(ctx context.Context, p *process, s streams) stdio.Exit {
	stop := context.AfterFunc(ctx, func() { p.hangUp(c.stopSignal(), c.server.grace()) })
	defer stop()
	var inputs sync.WaitGroup
	inputs.Go(func() { c.feed(p.stdin, s.in) })
	outputs := p.drain(s)
	<-p.child.Done()
	exit := exitOf(p.child.Status())
	if c.onEnd != nil {
		c.onEnd(exit)
	}
	if c.toEOF {
		select {
		case <-outputs:
		case <-ctx.Done():
		}
	}
	for _, file := range p.outs {
		_ = file.SetReadDeadline(time.Now().Add(drainFor))
	}
	<-outputs
	c.mu.Lock()
	c.tty = nil
	c.mu.Unlock()
	c.server.keepOpen(p)
	p.close()
	s.in.Close()
	inputs.Wait()
	return exit
}

// drain carries the command's output. The returned channel is closed at its end.
func (p *process) drain(s streams) <-chan struct{} {
	over := make(chan struct{})
	var outputs sync.WaitGroup
	for id, file := range p.outs {
		out := s.out
		if id == stdio.Stderr {
			out = s.err
		}
		outputs.Go(func() { p.held[id] = !drain(file, out) })
	}
	go func() {
		outputs.Wait()
		close(over)
	}()
	return over
}

func exitOf(status syscall.WaitStatus) stdio.Exit {
	if status.Signaled() {
		return stdio.Exit{Code: 128 + int(status.Signal()), Signal: int(status.Signal())}
	}
	return stdio.Exit{Code: status.ExitStatus()}
}

// stopSignal returns the signal that asks the command to end: SIGHUP, as from a terminal, unless
// the client has set another.
func (c *command) stopSignal() syscall.Signal {
	if c.exec.StopSignal != 0 {
		return syscall.Signal(c.exec.StopSignal)
	}
	if c.server.ctx.Err() != nil && !c.exec.TTY { // the guest is shutting down: no hang-up
		return syscall.SIGTERM
	}
	return syscall.SIGHUP
}

// hangUp ends a command whose client is gone or whose guest is shutting down.
func (p *process) hangUp(sig syscall.Signal, wait time.Duration) {
	_ = p.child.SignalGroup(sig)
	_ = p.child.SignalGroup(syscall.SIGCONT) // a stopped process could not handle it
	grace := time.NewTimer(wait)
	defer grace.Stop()
	select {
	case <-p.child.Done():
	case <-grace.C:
		_ = p.child.SignalGroup(syscall.SIGKILL)
	}
}

// feed writes the client's input to the command. Input that the command does not read any more is
// dropped.
func (c *command) feed(file *os.File, in io.Reader) {
	typed := &lastByte{r: in, last: '\n'}
	_, err := io.Copy(file, typed)
	switch {
	case err != nil:
		_, _ = io.Copy(io.Discard, in)
	case c.exec.TTY:
		_, _ = file.Write([]byte{endOfTransmission})
		if typed.last != '\n' { // the first one only ended a line (termios(3), VEOF)
			_, _ = file.Write([]byte{endOfTransmission})
		}
	default:
		file.Close()
	}
}

// lastByte records the last byte that was read.
type lastByte struct {
	r    io.Reader
	last byte
}

func (l *lastByte) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if n > 0 {
		l.last = p[n-1]
	}
	return n, err
}

// drain copies the command's output to its end, and reports whether the end was reached. After
// the command's own end file has a deadline; whatever is then in the pipe is its last output.
func drain(file *os.File, out io.WriteCloser) (ended bool) {
	defer out.Close()
	_, err := io.Copy(out, file)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err == nil // otherwise a terminal's end (EIO), or a client that is gone
	}
	_ = file.SetReadDeadline(time.Time{})
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	// Other processes may continue to write: no more is read than can be in the pipe now.
	_, _ = io.Copy(out, io.LimitReader(present{raw}, capacity(raw)))
	return false
}

// capacity returns how many bytes a pipe or a terminal can hold.
func capacity(raw syscall.RawConn) int64 {
	size := drainMax
	_ = raw.Control(func(fd uintptr) {
		if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil {
			size = n
		}
	})
	return int64(size)
}

// present reads available bytes, and returns io.EOF if there are none.
type present struct{ raw syscall.RawConn }

func (p present) Read(b []byte) (n int, err error) {
	failed := p.raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), b)
		return true
	})
	if err = errors.Join(failed, err); err == nil && n > 0 {
		return n, nil
	}
	return 0, io.EOF
}

// signal forwards a signal to the command's process group.
func (c *command) signal(number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		if len(c.pending) < 16 {
			c.pending = append(c.pending, syscall.Signal(number))
		}
		return
	}
	_ = c.child.SignalGroup(syscall.Signal(number))
}

// resize sets the size of the command's terminal, which notifies the command.
func (c *command) resize(rows, cols uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size = unix.Winsize{Row: rows, Col: cols}
	if c.tty != nil {
		_ = setSize(c.tty, c.size)
	}
}

// redraw sets the size of the terminal for a client that sees it for the first time, and notifies
// the program even if the size is the same.
func (c *command) redraw(rows, cols uint16) {
	c.resize(rows, cols)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tty == nil {
		return
	}
	conn, err := c.tty.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		if group, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP); err == nil && group > 1 {
			_ = unix.Kill(-group, unix.SIGWINCH)
		}
	})
}

// pid returns the process id, or 0 before the start.
func (c *command) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		return 0
	}
	return c.child.PID()
}
