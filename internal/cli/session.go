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
func (a *app) inGuest(ctx context.Context, g *guest.Client, exec api.Exec) error {
	if exec.TTY {
		exec.Rows, exec.Cols = a.terminalSize()
		exec.Env = append([]string{"TERM=" + cmp.Or(a.env("TERM"), "dumb")}, exec.Env...)
	}
	return a.inSession(ctx, g, exec.TTY, nil, func(ctx context.Context) (*guest.Session, error) {
		return g.Exec(ctx, exec)
	})
}

// attachTo takes over a session, as inGuest begins one.
func (a *app) attachTo(ctx context.Context, g *guest.Client, taken api.Session) error {
	var rows, cols uint16
	if taken.TTY {
		rows, cols = a.terminalSize()
	}
	return a.inSession(ctx, g, taken.TTY, &taken, func(ctx context.Context) (*guest.Session, error) {
		return g.Attach(ctx, taken.ID, rows, cols)
	})
}

// errLeft is what a session ends with that was left, and goes on: no failure.
const errLeft = statusError(0)

// inSession attends to a session that open opens; taken is one that was there.
func (a *app) inSession(ctx context.Context, g *guest.Client, tty bool, taken *api.Session, open func(context.Context) (*guest.Session, error)) error {
	// Once the command runs, signals are for it and do not end ctx any more. Both
	// watch for a moment, so that none kills us in between.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	s, err := open(context.WithoutCancel(ctx))
	if err != nil {
		return own(err)
	}
	defer s.Close()
	if ctx.Err() != nil {
		return own(api.Errorf(api.KindCanceled, "cancelled: %w", context.Cause(ctx)))
	}
	a.signals.leave()
	restore, err := a.raw(tty)
	if err != nil {
		return own(err)
	}
	defer restore()
	at := &attendance{app: a, s: s, tty: tty, id: s.ID(), leave: make(chan struct{})}
	if taken != nil {
		at.id, at.kept = taken.ID, taken.Kept
	}
	at.keep = func(ctx context.Context) error { return g.Leave(ctx, at.id, s) }
	at.ask = func(ctx context.Context) error { _, err := g.Health(ctx); return err }
	exit, err := at.attend(signals)
	if up := at.gaveUp.Load(); up != nil {
		restore()
		a.printError(guest.Unanswered(g.VM()))
		return statusError(up.status)
	}
	switch {
	case at.gone():
		s.Close()
		restore()
		a.note("left; it goes on: banger vm attach %s %s", g.VM(), at.id)
		return errLeft
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

// forwarded are the signals that go to the guest's command, and SIGWINCH.
// SIGPIPE is caught so that a broken output pipe is an error of a write instead
// of our end; it is never sent by anyone.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGWINCH, syscall.SIGPIPE,
}

// attendance is a client's part in a session.
type attendance struct {
	*app
	s       *guest.Session
	tty     bool
	id      string
	kept    bool                        // it goes on when we leave
	keep    func(context.Context) error // makes it so
	leaving sync.Mutex                  // held meanwhile: the session may end before that is answered
	leave   chan struct{}
	once    sync.Once
	ask     func(context.Context) error // whether the guest is there
	asking  atomic.Bool
	gaveUp  atomic.Pointer[surrender]
}

// surrender is the end of our part where the guest does not answer.
type surrender struct{ status int }

// answerTime is what a guest gets to show that it is there, once the user wants an end.
const answerTime = 5 * time.Second

// insist sees that whoever asks for the end of a command gets away from a guest that
// stands still: nothing that is sent there does anything.
func (a *attendance) insist(number syscall.Signal) {
	switch number {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
	default:
		return
	}
	if !a.asking.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer a.asking.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		if a.ask(ctx) != nil && ctx.Err() != nil {
			a.giveUp(128 + int(number))
		}
	}()
}

func (a *attendance) giveUp(status int) {
	a.gaveUp.CompareAndSwap(nil, &surrender{status})
	a.depart()
}

// quit leaves the command once the guest says that it goes on, or with must in any case.
func (a *attendance) quit(ctx context.Context, must bool) error {
	a.leaving.Lock()
	defer a.leaving.Unlock()
	err := a.keep(ctx)
	if err == nil || must {
		a.depart()
	}
	return err
}

// quitTime is what the guest gets to learn that we leave a command that goes on anyway:
// what it does not know to be read comes again at the next attach.
const quitTime = 2 * time.Second

// interrupted leaves a command that goes on anyway.
func (a *attendance) interrupted() {
	ctx, cancel := context.WithTimeout(context.Background(), quitTime)
	defer cancel()
	_ = a.quit(ctx, true)
}

// depart ends our part; the command goes on.
func (a *attendance) depart() {
	a.once.Do(func() {
		close(a.leave)
		_ = a.s.Close() // ends the reads of its output
	})
}

// gone says whether we have left. Where we are about to, it waits.
func (a *attendance) gone() bool {
	a.leaving.Lock()
	defer a.leaving.Unlock()
	select {
	case <-a.leave:
		return true
	default:
		return false
	}
}

// input copies what is typed to the command, unless it is to be left.
func (a *attendance) input() {
	// Ends with the session, or with us: a read of a terminal cannot be given up.
	if _, terminal := terminal(a.in); a.tty && terminal {
		if leaveKeys(a.s.Stdin, a.in, a.leaver()) {
			return
		}
	} else {
		_, _ = io.Copy(a.s.Stdin, a.in) // what cannot be written ends the command itself
	}
	a.s.Stdin.Close()
}

// leaver returns what leaves the command, or says why it cannot. From a guest that did
// not answer at the first time the second one goes away in any case.
func (a *attendance) leaver() func() bool {
	mute := false
	return func() bool {
		if mute {
			a.giveUp(exitBanger)
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		err := a.quit(ctx, false)
		if err == nil {
			return true
		}
		why := printable(err.Error())
		if mute = ctx.Err() != nil; mute {
			why = "the guest does not answer; once more leaves it all the same"
		}
		fmt.Fprintf(a.err, "\r\nbanger: cannot leave: %s\r\n", why)
		return false
	}
}

// attend moves bytes and signals until the command has ended or was left.
func (a *attendance) attend(signals <-chan os.Signal) (guest.Exit, error) {
	go a.input()
	over := make(chan struct{})
	var passing, output sync.WaitGroup
	passing.Go(func() { a.pass(signals, over) })
	var broken [2]error
	output.Go(func() { broken[0] = drain(a.s, a.out, a.s.Stdout) })
	output.Go(func() { broken[1] = drain(a.s, a.err, a.s.Stderr) })
	output.Wait()
	exit, err := a.s.Wait(context.Background())
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
	_, err := io.Copy(onlyWriter{w}, r)
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

// onlyWriter hides what io.Copy would use instead, so that a failed write can be told
// from a failed read.
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

// pass hands signals and the terminal's new sizes to the guest. A command that goes
// on without us is left where the terminal is closed, or at Ctrl-C.
func (a *attendance) pass(signals <-chan os.Signal, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case sig := <-signals:
			number, _ := sig.(syscall.Signal)
			switch {
			case number == syscall.SIGPIPE:
			case number == syscall.SIGWINCH:
				if rows, cols := a.terminalSize(); a.tty && rows > 0 {
					_ = a.s.Resize(rows, cols) // fails where the session is over
				}
			case a.kept && (number == syscall.SIGHUP || number == syscall.SIGINT):
				go a.interrupted()
			default:
				a.insist(number)
				_ = a.s.Signal(number)
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
