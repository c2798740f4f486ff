package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/guest"
)

// sessions connects the standard streams to commands in guests.
type sessions struct {
	std     *streams
	signals *interruption
}

func (a *app) sessions() sessions { return sessions{a.std, a.signals} }

// run runs a command in a guest. It returns how banger ends: nil, the command's status, or
// an error of banger's own.
func (s sessions) run(ctx context.Context, g *client.Guest, exec api.Exec) error {
	if exec.TTY {
		exec.Rows, exec.Cols = s.std.terminalSize()
		exec.Env = append([]string{"TERM=" + cmp.Or(s.std.env("TERM"), "dumb")}, exec.Env...)
	}
	return s.join(ctx, g, exec.TTY, nil, func(ctx context.Context) (*client.Session, error) {
		return g.Exec(ctx, exec)
	})
}

// attach attaches to a session, as run begins one.
func (s sessions) attach(ctx context.Context, g *client.Guest, taken api.Session) error {
	var rows, cols uint16
	if taken.TTY {
		rows, cols = s.std.terminalSize()
	}
	return s.join(ctx, g, taken.TTY, &taken, func(ctx context.Context) (*client.Session, error) {
		return g.Attach(ctx, taken.ID, rows, cols)
	})
}

// errDetached is the result of a session from which the user detached: not a failure.
const errDetached = statusError(0)

// join opens a session with open and connects it to the standard streams. taken is the
// session to attach to, or nil for a new one.
func (s sessions) join(ctx context.Context, g *client.Guest, tty bool, taken *api.Session, open func(context.Context) (*client.Session, error)) error {
	// Once the command runs, signals are for it and do not end ctx any more. For a moment
	// both handlers are registered, so that no signal kills this process in between.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	session, err := open(context.WithoutCancel(ctx))
	if err != nil {
		return own(err)
	}
	defer session.Close()
	if ctx.Err() != nil {
		return own(api.Errorf(api.KindCanceled, "cancelled: %w", context.Cause(ctx)))
	}
	s.signals.leave()
	restore, err := s.std.raw(tty)
	if err != nil {
		return own(err)
	}
	defer restore()
	at := &sessionUI{std: s.std, s: session, tty: tty, id: session.ID(), left: make(chan struct{})}
	if taken != nil {
		at.id, at.background = taken.ID, taken.Kept
	}
	at.keepRunning = func(ctx context.Context) error { return g.Leave(ctx, at.id, session) }
	at.health = func(ctx context.Context) error { _, err := g.Health(ctx); return err }
	exit, err := at.serve(signals)
	if status := at.gaveUp.Load(); status != nil {
		restore()
		s.std.printError(guest.Unanswered(g.Name()))
		return statusError(*status)
	}
	switch {
	case at.disconnected():
		session.Close()
		restore()
		s.std.note("detached; the command keeps running. To attach again: banger vm attach %s %s", g.Name(), at.id)
		return errDetached
	case err != nil && exit.Code > 0 && exit.Code < 256:
		// The command could not run: the shell's 126 and 127.
		restore()
		s.std.printError(err)
		return statusError(exit.Code)
	case err != nil:
		return own(err)
	case exit.Code != 0:
		return statusError(exit.Code)
	}
	return nil
}

// forwarded are the signals that go to the guest's command, and SIGWINCH. SIGPIPE is
// caught so that a broken output pipe is a write error instead of the end of this process;
// nobody sends it.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGWINCH, syscall.SIGPIPE,
}

// sessionUI connects the user's terminal or standard streams to a session.
type sessionUI struct {
	std         *streams
	s           *client.Session
	tty         bool
	id          string
	background  bool                        // the command keeps running without this client
	keepRunning func(context.Context) error // asks the guest to keep it running without this client
	detaching   sync.Mutex                  // held during keepRunning: the session may end before the answer
	left        chan struct{}
	once        sync.Once
	health      func(context.Context) error // fails if the guest does not answer
	checking    atomic.Bool
	gaveUp      atomic.Pointer[int] // the exit status if the guest does not answer
}

// answerTime bounds the wait for the guest's answer once the user asks for an end.
const answerTime = 5 * time.Second

// checkGuestAfterSignal gives up if a signal asks for the end of the command and the guest
// does not answer: a guest that hangs does not deliver the signal.
func (a *sessionUI) checkGuestAfterSignal(number syscall.Signal) {
	switch number {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
	default:
		return
	}
	if !a.checking.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer a.checking.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		if a.health(ctx) != nil && ctx.Err() != nil {
			a.giveUp(128 + int(number))
		}
	}()
}

// giveUp ends this client with an exit status, without an answer of the guest.
func (a *sessionUI) giveUp(status int) {
	a.gaveUp.CompareAndSwap(nil, &status)
	a.disconnect()
}

// detach disconnects once the guest confirms that the command keeps running, or with must
// in any case.
func (a *sessionUI) detach(ctx context.Context, must bool) error {
	a.detaching.Lock()
	defer a.detaching.Unlock()
	err := a.keepRunning(ctx)
	if err == nil || must {
		a.disconnect()
	}
	return err
}

// detachTime bounds the wait for the guest's answer if a background command is left.
// Output that the guest does not know to be read is sent again at the next attach.
const detachTime = 2 * time.Second

// detachInterrupted detaches from a background command, whether or not the guest answers.
func (a *sessionUI) detachInterrupted() {
	ctx, cancel := context.WithTimeout(context.Background(), detachTime)
	defer cancel()
	_ = a.detach(ctx, true)
}

// disconnect ends this client; the command keeps running.
func (a *sessionUI) disconnect() {
	a.once.Do(func() {
		close(a.left)
		_ = a.s.Close() // ends the reads of its output
	})
}

// disconnected reports whether this client has disconnected. It waits for a detach in
// progress.
func (a *sessionUI) disconnected() bool {
	a.detaching.Lock()
	defer a.detaching.Unlock()
	select {
	case <-a.left:
		return true
	default:
		return false
	}
}

// input copies typed bytes to the command until the user detaches.
func (a *sessionUI) input() {
	// Ends with the session or with this process: a read of a terminal cannot be cancelled.
	if _, terminal := terminal(a.std.in); a.tty && terminal {
		if leaveKeys(a.s.Stdin, a.std.in, a.detacher()) {
			return
		}
	} else {
		_, _ = io.Copy(a.s.Stdin, a.std.in) // a failed write means that the command has ended
	}
	a.s.Stdin.Close()
}

// detacher returns a function that detaches from the command, or prints why it cannot. If
// the guest did not answer the first call, the second call gives up.
func (a *sessionUI) detacher() func() bool {
	unanswered := false
	return func() bool {
		if unanswered {
			a.giveUp(exitBanger)
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		err := a.detach(ctx, false)
		if err == nil {
			return true
		}
		why := printable(err.Error())
		if unanswered = ctx.Err() != nil; unanswered {
			why = "the guest does not answer; type Ctrl-] d again to leave anyway"
		}
		fmt.Fprintf(a.std.err, "\r\nbanger: cannot detach: %s\r\n", why)
		return false
	}
}

// serve forwards bytes and signals until the command has ended or the user has detached.
func (a *sessionUI) serve(signals <-chan os.Signal) (client.Exit, error) {
	go a.input()
	over := make(chan struct{})
	var passing, output sync.WaitGroup
	passing.Go(func() { a.forwardSignals(signals, over) })
	var broken [2]error
	output.Go(func() { broken[0] = drain(a.s, a.std.out, a.s.Stdout) })
	output.Go(func() { broken[1] = drain(a.s, a.std.err, a.s.Stderr) })
	output.Wait()
	exit, err := a.s.Wait(context.Background())
	close(over)
	passing.Wait()
	if failed := errors.Join(broken[:]...); failed != nil && (err != nil || brokenPipe(failed)) {
		return client.Exit{Code: 128 + int(syscall.SIGPIPE)}, nil
	} else if failed != nil && err == nil {
		err = api.Errorf(api.KindInternal, "cannot write the command's output: %w", failed)
		return client.Exit{}, err
	}
	return exit, err
}

// pipeTime bounds how long a command may run after nobody reads its output.
const pipeTime = 2 * time.Second

// drain copies a stream of the command to w. If a write fails, the command gets SIGPIPE, as
// from a broken pipe, and its further output is dropped.
func drain(s *client.Session, w io.Writer, r io.Reader) error {
	_, err := io.Copy(onlyWriter{w}, r)
	var failed *writeError
	if !errors.As(err, &failed) {
		return nil // the session broke, which Wait reports
	}
	_ = s.Signal(syscall.SIGPIPE)
	late := time.AfterFunc(pipeTime, func() { s.Close() })
	defer late.Stop()
	_, _ = io.Copy(io.Discard, r)
	return failed.err
}

// onlyWriter hides the other interfaces that io.Copy would use, so that a failed write can
// be told from a failed read.
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

// forwardSignals sends signals and the terminal's new sizes to the guest. From a background
// command it detaches if the terminal is closed, and at Ctrl-C.
func (a *sessionUI) forwardSignals(signals <-chan os.Signal, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case sig := <-signals:
			number, _ := sig.(syscall.Signal)
			switch {
			case number == syscall.SIGPIPE:
			case number == syscall.SIGWINCH:
				if rows, cols := a.std.terminalSize(); a.tty && rows > 0 {
					_ = a.s.Resize(rows, cols) // fails if the session is over
				}
			case a.background && (number == syscall.SIGHUP || number == syscall.SIGINT):
				go a.detachInterrupted()
			default:
				a.checkGuestAfterSignal(number)
				_ = a.s.Signal(number)
			}
		}
	}
}

// start starts a command in the background, and prints the id of its session.
func (s sessions) start(ctx context.Context, g *client.Guest, exec api.Exec) error {
	if exec.TTY {
		exec.Rows, exec.Cols = s.std.terminalSize()
		exec.Env = append([]string{"TERM=" + cmp.Or(s.std.env("TERM"), "dumb")}, exec.Env...)
	}
	id, exit, err := g.Start(ctx, exec, s.std.err)
	switch {
	case err != nil:
		return own(err)
	case id == "":
		return statusError(exit.Code)
	}
	_, err = fmt.Fprintln(s.std.out, printable(id))
	return err
}

// proxy carries bytes until ssh or the guest ends. Ctrl-C is for ssh, which shares the
// terminal: if it ends, proxy ends.
func (s sessions) proxy(c *client.Session) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a write error instead of the end of this process
	go func() {
		_, _ = io.Copy(c.Stdin, s.std.in) // a failed write means that the session has ended
		c.Stdin.Close()
	}()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(s.std.out, c.Stdout)
		copied <- err
	}()
	select {
	case err := <-copied:
		if err != nil { // ssh has gone
			return nil
		}
	case <-signals:
		return nil
	}
	_, err := c.Wait(context.Background())
	return err
}
