package guest

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/stdio"
	"banger/internal/stream"
)

// Linux's limits for what a program is started with (execve(2)): one string, and
// all of them with the default stack limit of 8 MiB.
const (
	maxArgument  = 128 << 10
	maxArguments = 2 << 20
)

// Exit says how a command ended.
type Exit struct {
	Code   int // exit status, or 128 plus the signal
	Signal int // that killed it, or 0
}

// Session is a command that runs in the guest. Both Stdout and Stderr are to be
// read to their end; with a terminal everything comes on Stdout.
type Session struct {
	Stdin  io.WriteCloser
	Stdout io.Reader
	Stderr io.Reader

	vm     string // the client's
	pipe   *stream.Pipe
	mux    *stdio.Mux
	cancel context.CancelFunc
	work   sync.WaitGroup

	ended  chan struct{} // closed once exit or err is known
	exit   stdio.Exit
	exited bool
	err    error
}

// Exec starts a command. It returns as soon as the command is on its way; that it
// could not be started is what Wait says. The session goes on by itself when the
// channel breaks, and is given up when ctx ends.
func (c *Client) Exec(ctx context.Context, exec api.Exec) (*Session, error) {
	total := 0
	for _, s := range append(exec.Argv[:len(exec.Argv):len(exec.Argv)], exec.Env...) {
		total += len(s) + 1 + 8 // with its pointer
		if len(s) >= maxArgument {
			return nil, api.Errorf(api.KindInvalid, "the command line is too long: one argument has %d bytes, Linux takes %d: %w",
				len(s), maxArgument-1, syscall.E2BIG).WithHint("pass long input on standard input, or copy a file: banger vm cp")
		}
	}
	if total > maxArguments {
		return nil, api.Errorf(api.KindInvalid, "the command line is too long: %d bytes, Linux takes %d: %w",
			total, maxArguments, syscall.E2BIG).WithHint("pass long input on standard input, or copy a file: banger vm cp")
	}
	return c.open(ctx, stdio.Open{Exec: &exec})
}

// open begins a session of any kind.
func (c *Client) open(ctx context.Context, open stdio.Open) (*Session, error) {
	whole, newPipe := open.Connect != nil || open.Accept != nil, stream.New
	if whole {
		ctx, newPipe = ForConnection(ctx), stream.NewConnection
	}
	pipe := newPipe(stream.NewID())
	stop := c.warnOfSilence(pipe)
	conn, err := c.Dial(ctx)
	if err != nil {
		stop()
		return nil, &unreachableError{err}
	}
	if open.Exec != nil && c.Complete != nil {
		exec := c.Complete(*open.Exec)
		open.Exec = &exec
	}
	s := &Session{vm: c.vm(), pipe: pipe, ended: make(chan struct{})}
	s.mux = stdio.New(s.pipe, stdio.Handler{Exit: func(e stdio.Exit) {
		s.exit, s.exited = e, true
		if whole && e.Error != nil {
			s.mux.In(stdio.Stdout).Close() // what came is a part: it must not look like all
		}
	}}, stdio.Stdout, stdio.Stderr)
	s.Stdin, s.Stdout, s.Stderr = s.mux.Out(stdio.Stdin), s.mux.In(stdio.Stdout), s.mux.In(stdio.Stderr)
	ctx, s.cancel = context.WithCancel(ctx)
	s.work.Go(func() {
		defer stop()
		c.keepAttached(ctx, s.pipe, conn)
	})
	if err := stdio.WriteOpen(s.pipe, open); err != nil {
		s.pipe.Reset(err)
		s.cancel()
		s.work.Wait()
		return nil, err
	}
	s.work.Go(s.read)
	return s, nil
}

// unreachableError means that there is no guest to talk to; what it wraps says
// why. It is not the guest that lacks something.
type unreachableError struct{ error }

func (e *unreachableError) Unwrap() error { return e.error }

// read takes what the agent sends until the command has ended.
func (s *Session) read() {
	err := s.mux.Run()
	switch {
	case s.exited && s.exit.Error != nil && s.exit.Errno > 0:
		s.err = &systemError{said(s.exit.Error), syscall.Errno(s.exit.Errno)}
	case s.exited && s.exit.Error != nil:
		s.err = outdated(said(s.exit.Error), s.vm)
	case s.exited:
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		s.err = api.Errorf(api.KindInternal, "the guest's agent ended the session without a result")
	default:
		s.err = err
	}
	if s.exited {
		_, _ = io.Copy(io.Discard, s.pipe) // up to the end, which the agent waits to be seen
	}
	close(s.ended)
	s.pipe.Close()
}

// outdated explains that an agent does not know what it was asked for: it is that of
// the banger which the guest was started with. The agent's own words are few, and
// those of one that runs already cannot become more. One that knows no api.Bytes fails
// to decode them.
func outdated(err *api.Error, vm string) error {
	noBytes := strings.Contains(err.Message, "bad session: json: cannot unmarshal object")
	if err.Kind != api.KindUnsupported && !noBytes || err.Hint != "" {
		return err
	}
	e := api.Errorf(err.Kind, "this VM has an agent of an older banger, until it is restarted: %w", err)
	if vm == "" {
		return e.WithHint("restart the VM: it gets the agent of this banger")
	}
	return e.WithHint("banger vm restart %s   gives it the agent of this banger", vm)
}

// Signal sends a signal to the command's process group.
func (s *Session) Signal(sig syscall.Signal) error { return s.mux.Signal(int(sig)) }

// SignalName sends a signal named as kill(1) names it, with or without SIG.
func (s *Session) SignalName(name string) error {
	name = strings.ToUpper(name)
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
	if sig == 0 {
		return api.Errorf(api.KindInvalid, "unknown signal %q", name)
	}
	return s.Signal(sig)
}

// Resize tells the command's terminal its new size.
func (s *Session) Resize(rows, cols uint16) error { return s.mux.Resize(rows, cols) }

// Done is closed when the command has ended. Its last output may not be read yet.
func (s *Session) Done() <-chan struct{} { return s.ended }

// Wait waits for the command's end. Its output has to be read meanwhile.
func (s *Session) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-s.ended:
		return Exit{Code: s.exit.Code, Signal: s.exit.Signal}, s.err
	case <-ctx.Done():
		return Exit{}, api.Errorf(contextKind(ctx), "gave up waiting for the command: %w", context.Cause(ctx))
	}
}

// Close ends the session; a command that still runs is hung up. It waits for
// everything the session has started here.
func (s *Session) Close() error {
	s.pipe.Close()
	s.cancel()
	s.work.Wait()
	return nil
}
