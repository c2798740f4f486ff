package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Command is a program to run. Its fields are set before Start or Run. Signals and sizes may arrive
// at any time.
type Command struct {
	// ShellLine, unless empty, is run by the user's shell, instead of the command's arguments.
	ShellLine string
	// Itself, unless empty, runs this process's own program under that name.
	Itself string
	// Prepare, unless nil, configures the terminal, and returns more environment for the program.
	Prepare func(tty *os.File) (env []string, err error)
	// OnStart, unless nil, is called once the program runs.
	OnStart func()
	// OnEnd, unless nil, is called once the program has ended, possibly before the end of its
	// output.
	OnEnd func(Exit)
	// ToEOF makes the output continue as long as any process holds it open.
	ToEOF bool

	runner *Runner
	exec   api.Exec

	mu      sync.Mutex
	child   *Child
	pending []syscall.Signal // received before the start
	tty     *os.File
	size    unix.Winsize
}

// Streams are the client's ends of a program's standard streams. Each is closed when it is not
// needed any more.
type Streams struct {
	In       io.ReadCloser
	Out, Err io.WriteCloser
}

// Exit is how a program ended.
type Exit struct {
	Code   int
	Signal syscall.Signal // that killed it, or 0
}

func newCommand(r *Runner, exec api.Exec) *Command {
	return &Command{runner: r, exec: exec, size: unix.Winsize{Row: exec.Rows, Col: exec.Cols}}
}

// Run runs the program to its end, or hangs it up when ctx ends. If the reason why it does not run is
// one that shells report, it is written to its standard error, and the exit status is a shell's.
func (c *Command) Run(ctx context.Context, s Streams) (Exit, error) {
	p, err := c.start(ctx)
	var status statusError
	if errors.As(err, &status) {
		fmt.Fprintf(s.Err, "banger: %s\n", status.text)
		return Exit{Code: status.code}, nil
	}
	if err != nil {
		return Exit{}, err
	}
	return p.Follow(ctx, s), nil
}

// Start starts the program. Follow must be called then.
func (c *Command) Start() (*Running, error) {
	p, err := c.start(c.runner.ctx)
	var status statusError
	if errors.As(err, &status) {
		return nil, api.Errorf(api.KindInvalid, "%s", status.text)
	}
	return p, err
}

// Running is a running program and this process's ends of its streams.
type Running struct {
	command *Command
	program *program
	child   *Child
	stdin   *os.File
	outs    map[int]*os.File // by stream
	open    [3]bool          // by stream: a process may still write to it
}

// Name returns the name of the program's file.
func (p *Running) Name() string { return filepath.Base(p.program.path) }

func (c *Command) start(ctx context.Context) (*Running, error) {
	program, err := c.resolve()
	if err != nil {
		return nil, err
	}
	p := &Running{command: c, program: program, outs: map[int]*os.File{}}
	attr := &syscall.ProcAttr{Dir: program.dir,
		Sys: &syscall.SysProcAttr{Setsid: true, Credential: program.credential}}
	var theirs []*os.File
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
	if err == nil && c.exec.TTY && c.Prepare != nil {
		var more []string
		more, err = c.Prepare(theirs[0])
		program.env = merge(program.env, more)
	}
	if err == nil {
		attr.Env = program.env
		err = c.runner.spawn(ctx, attr.Sys, func() (err error) {
			p.child, err = c.runner.reaper.Start(program.path, program.argv, attr)
			return err
		})
	}
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		p.close()
		return nil, startError(program, err)
	}
	c.started(p)
	if c.OnStart != nil {
		c.OnStart()
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
func (c *Command) started(p *Running) {
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

func (c *Command) openTTY(p *Running) ([]*os.File, error) {
	c.mu.Lock()
	size := c.size
	c.mu.Unlock()
	master, slave, err := openTerminal(size)
	if err != nil {
		return nil, err
	}
	p.stdin, p.outs[stdout] = master, master
	return []*os.File{slave, slave, slave}, nil
}

// Follow carries the streams of a running program and returns how it ended. When ctx ends, it hangs
// the program up.
func (p *Running) Follow(ctx context.Context, s Streams) Exit {
	c := p.command
	stop := context.AfterFunc(ctx, func() { p.hangUp(c.stopSignal(), c.runner.grace()) })
	defer stop()
	var inputs sync.WaitGroup
	inputs.Go(func() { c.feed(p.stdin, s.In) })
	outputs := p.drain(s)
	<-p.child.Done()
	exit := exitOf(p.child.Status())
	if c.OnEnd != nil {
		c.OnEnd(exit)
	}
	if c.ToEOF {
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
	p.keepOpen()
	p.close()
	s.In.Close()
	inputs.Wait()
	return exit
}

// exitOf returns the status as shells report it.
func exitOf(status syscall.WaitStatus) Exit {
	if status.Signaled() {
		return Exit{Code: 128 + int(status.Signal()), Signal: status.Signal()}
	}
	return Exit{Code: status.ExitStatus()}
}

// stopSignal returns the signal that asks the command to end: SIGHUP, as from a terminal, unless
// the client has set another.
func (c *Command) stopSignal() syscall.Signal {
	if c.exec.StopSignal != 0 {
		return syscall.Signal(c.exec.StopSignal)
	}
	if c.runner.ctx.Err() != nil && !c.exec.TTY { // the guest is shutting down: no hang-up
		return syscall.SIGTERM
	}
	return syscall.SIGHUP
}

// hangUp ends a command whose client is gone or whose guest is shutting down.
func (p *Running) hangUp(sig syscall.Signal, wait time.Duration) {
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

// Signal forwards a signal to the command's process group.
func (c *Command) Signal(number int) {
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

// Resize sets the size of the command's terminal, which notifies the command.
func (c *Command) Resize(rows, cols uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size = unix.Winsize{Row: rows, Col: cols}
	if c.tty != nil {
		_ = setSize(c.tty, c.size)
	}
}

// Redraw sets the size of the terminal for a client that sees it for the first time, and notifies
// the program even if the size is the same.
func (c *Command) Redraw(rows, cols uint16) {
	c.Resize(rows, cols)
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

// PID returns the process id, or 0 before the start.
func (c *Command) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		return 0
	}
	return c.child.PID()
}
