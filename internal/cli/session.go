package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/guest"

	"golang.org/x/term"
)

// interactive reports whether there is a terminal at both ends.
func (a *app) interactive() bool {
	_, in := terminal(a.in)
	_, out := terminal(a.out)
	return in && out
}

// inGuest runs a command in a guest with our standard streams, and returns what
// banger is to end with: nil, the command's status, or an error of banger's own.
func (a *app) inGuest(ctx context.Context, c *client.Client, ref string, exec api.Exec) error {
	if exec.TTY {
		exec.Rows, exec.Cols = a.terminalSize()
		exec.Env = append([]string{"TERM=" + orDumb(a.env("TERM"))}, exec.Env...)
	}
	// Once the command runs, signals are for it and do not end ctx any more. Both
	// watch for a moment, so that none kills us in between.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	s, err := c.Guest(ref).Exec(context.WithoutCancel(ctx), exec)
	if err != nil {
		return own(err)
	}
	defer s.Close()
	if ctx.Err() != nil {
		return own(api.Errorf(api.KindCanceled, "cancelled: %w", context.Cause(ctx)))
	}
	a.signals.leave()
	restore, err := a.raw(exec.TTY)
	if err != nil {
		return own(err)
	}
	defer restore()
	exit, err := a.attend(s, signals, exec.TTY)
	switch {
	case err != nil && exit.Code > 0 && exit.Code < 256:
		// The command could not be run: the shell's 126 and 127.
		restore()
		a.printError(err)
		return statusError(exit.Code)
	case err != nil:
		return own(err)
	case exit.Code != 0:
		return statusError(exit.Code)
	}
	return nil
}

func orDumb(name string) string {
	if name == "" {
		return "dumb"
	}
	return name
}

// forwarded are the signals that go to the guest's command, and SIGWINCH.
// SIGPIPE is caught so that a broken output pipe is an error of a write instead
// of our end; it is never sent by anyone.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGWINCH, syscall.SIGPIPE,
}

// attend moves bytes and signals until the command has ended.
func (a *app) attend(s *guest.Session, signals <-chan os.Signal, tty bool) (guest.Exit, error) {
	go func() {
		// Ends with the session, or with us: a read of a terminal cannot be given up.
		_, _ = io.Copy(s.Stdin, a.in) // what cannot be written ends the command itself
		s.Stdin.Close()
	}()
	over := make(chan struct{})
	var passing, output sync.WaitGroup
	passing.Go(func() { a.pass(s, signals, tty, over) })
	var broken [2]error
	output.Go(func() { broken[0] = drain(s, a.out, s.Stdout) })
	output.Go(func() { broken[1] = drain(s, a.err, s.Stderr) })
	output.Wait()
	exit, err := s.Wait(context.Background())
	close(over)
	passing.Wait()
	if failed := errors.Join(broken[:]...); failed != nil && (err != nil || brokenPipe(failed)) {
		return guest.Exit{Code: 128 + int(syscall.SIGPIPE)}, nil
	} else if failed != nil && err == nil {
		err = api.Errorf(api.KindInternal, "cannot write the command's output: %w", failed)
		return guest.Exit{}, err
	}
	return exit, err
}

// pipeTime is what a command gets to end once nobody reads its output.
const pipeTime = 2 * time.Second

// drain copies a stream of the command to w. Where that fails, the command
// learns of it as from a broken pipe, and what it still says is dropped.
func drain(s *guest.Session, w io.Writer, r io.Reader) error {
	_, err := io.Copy(onlyWriter{w}, onlyReader{r})
	var failed *writeError
	if !errors.As(err, &failed) {
		return nil // the session broke, which Wait says
	}
	_ = s.Signal(syscall.SIGPIPE)
	late := time.AfterFunc(pipeTime, func() { s.Close() })
	defer late.Stop()
	_, _ = io.Copy(io.Discard, r)
	return failed.err
}

// onlyReader and onlyWriter hide what io.Copy would use instead, so that a
// failed write can be told from a failed read.
type onlyReader struct{ io.Reader }

type onlyWriter struct{ w io.Writer }

type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

func (o onlyWriter) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// pass hands signals and the terminal's new sizes to the guest.
func (a *app) pass(s *guest.Session, signals <-chan os.Signal, tty bool, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case sig := <-signals:
			number, _ := sig.(syscall.Signal)
			switch {
			case number == syscall.SIGPIPE:
			case number == syscall.SIGWINCH:
				if rows, cols := a.terminalSize(); tty && rows > 0 {
					_ = s.Resize(rows, cols) // fails where the session is over
				}
			default:
				_ = s.Signal(number)
			}
		}
	}
}

// terminalSize is the size of the terminal that the command's will mirror.
func (a *app) terminalSize() (rows, cols uint16) {
	for _, v := range []any{a.out, a.in} {
		if f, ok := terminal(v); ok {
			if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
				return uint16(min(h, 1<<16-1)), uint16(min(w, 1<<16-1))
			}
		}
	}
	return 24, 80
}

// raw lets every key through to the guest. The returned function puts the
// terminal back; it may be called more than once.
func (a *app) raw(tty bool) (func(), error) {
	f, ok := terminal(a.in)
	if !tty || !ok {
		return func() {}, nil
	}
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot set the terminal's mode: %w", err)
	}
	var once sync.Once
	return func() { once.Do(func() { _ = term.Restore(int(f.Fd()), state) }) }, nil
}
