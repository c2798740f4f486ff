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
	"banger/internal/guest/stdio"
	"banger/internal/guest/stream"
)

// Linux's limits for a program's arguments and environment (execve(2)), in bytes: for one
// string, and for all of them with the default stack limit of 8 MiB.
const (
	maxArgument  = 128 << 10
	maxArguments = 2 << 20
)

// Exit is how a command ended.
type Exit struct {
	Code   int // exit status, or 128 plus the signal
	Signal int // that killed it, or 0
}

// Session is a command that runs in the guest. The caller has to read both Stdout and
// Stderr to their end; with a terminal all output comes on Stdout.
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

// Exec starts a command. It returns as soon as the request is sent; if the command cannot
// be started, Wait returns the error. The session survives a broken channel, and ends when
// ctx ends.
func (c *Client) Exec(ctx context.Context, exec api.Exec) (*Session, error) {
	total := 0
	for _, s := range append(exec.Argv[:len(exec.Argv):len(exec.Argv)], exec.Env...) {
		total += len(s) + 1 + 8 // with its pointer
		if len(s) >= maxArgument {
			return nil, api.Errorf(api.KindInvalid, "the command line is too long: one argument has %d bytes, Linux accepts %d: %w",
				len(s), maxArgument-1, syscall.E2BIG).WithHint("pass long input on standard input, or copy a file: banger vm cp")
		}
	}
	if total > maxArguments {
		return nil, api.Errorf(api.KindInvalid, "the command line is too long: %d bytes, Linux accepts %d: %w",
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
	stop := c.warnUnresponsive(pipe)
	conn, err := c.Dial(Waking(ctx))
	if err != nil {
		stop()
		return nil, &unreachableError{err}
	}
	if open.Exec != nil && c.Complete != nil {
		exec := c.Complete(*open.Exec)
		open.Exec = &exec
	}
	s := &Session{vm: c.vm(), pipe: pipe, ended: make(chan struct{})}
	input := make(chan struct{}, 1)
	noteInput := func() {
		select {
		case input <- struct{}{}:
		default:
		}
	}
	s.mux = stdio.New(s.pipe, stdio.Handler{Input: noteInput, Exit: func(e stdio.Exit) {
		s.exit, s.exited = e, true
		if whole && e.Error != nil {
			s.mux.In(stdio.Stdout).Close() // what was received is incomplete: it must not look complete
		}
	}}, stdio.Stdout, stdio.Stderr)
	s.Stdin, s.Stdout, s.Stderr = s.mux.Out(stdio.Stdin), s.mux.In(stdio.Stdout), s.mux.In(stdio.Stderr)
	ctx, s.cancel = context.WithCancel(ctx)
	s.work.Go(func() {
		defer stop()
		c.keepAttached(ctx, s.pipe, conn, input)
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

// unreachableError means that no guest can be reached; it wraps the reason. It is not the
// guest that lacks something.
type unreachableError struct{ error }

func (e *unreachableError) Unwrap() error { return e.error }

// read handles what the agent sends until the command has ended.
func (s *Session) read() {
	err := s.mux.Run()
	switch {
	case s.exited && s.exit.Error != nil && s.exit.Errno > 0:
		s.err = &systemError{sanitize(s.exit.Error), syscall.Errno(s.exit.Errno)}
	case s.exited && s.exit.Error != nil:
		s.err = outdated(sanitize(s.exit.Error), s.vm)
	case s.exited:
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		s.err = api.Errorf(api.KindInternal, "the guest's agent ended the session without a result")
	default:
		s.err = err
	}
	if s.exited {
		_, _ = io.Copy(io.Discard, s.pipe) // to the end: the agent waits until this side has seen it
	}
	close(s.ended)
	s.pipe.Close()
}

// outdated explains that an agent does not know a request: it belongs to the version of
// banger that started the guest. The errors of agents that already run cannot be changed.
// An agent that does not know api.Bytes fails to decode them.
func outdated(err *api.Error, vm string) error {
	noBytes := strings.Contains(err.Message, "bad session: json: cannot unmarshal object")
	if err.Kind != api.KindUnsupported && !noBytes || err.Hint != "" {
		return err
	}
	e := api.Errorf(err.Kind, "this VM runs the agent of an older banger until it is restarted: %w", err)
	if vm == "" {
		return e.WithHint("restart the VM: it then gets the agent of this banger")
	}
	return e.WithHint("banger vm restart %s   replaces its agent", vm)
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

// Resize sets the size of the command's terminal.
func (s *Session) Resize(rows, cols uint16) error { return s.mux.Resize(rows, cols) }

// Done is closed when the command has ended. Its last output may still be unread.
func (s *Session) Done() <-chan struct{} { return s.ended }

// Wait waits for the command's end. The caller has to read its output concurrently.
func (s *Session) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-s.ended:
		return Exit{Code: s.exit.Code, Signal: s.exit.Signal}, s.err
	case <-ctx.Done():
		return Exit{}, api.Errorf(contextKind(ctx), "gave up waiting for the command: %w", context.Cause(ctx))
	}
}

// Close ends the session; a command that still runs gets SIGHUP. It waits for the
// session's goroutines.
func (s *Session) Close() error {
	s.pipe.Close()
	s.cancel()
	s.work.Wait()
	return nil
}
