package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"banger/api"
	"banger/client"
	"banger/internal/buildinfo"
	"banger/internal/daemonstart"
	"banger/internal/guest"
	"banger/internal/host/console"
	"banger/internal/paths"
	"banger/internal/update"

	"golang.org/x/term"
)

// app is what every command works with.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	signals  *interruption

	mu sync.Mutex // guards err, which progress and notes share
}

func newApp(in io.Reader, out, err io.Writer, env func(string) string) *app {
	return &app{in: in, out: out, err: err, env: env}
}

// client returns a client that starts the daemon if it is not running, or waits
// for it if systemd runs it.
func (a *app) client() (*client.Client, error) {
	p, err := paths.Choose()
	if err != nil {
		return nil, err
	}
	var c *client.Client
	o := client.Options{Version: buildinfo.Get().Version}
	o.OnOtherVersion = func(daemon string) {
		cure := "`banger daemon stop` lets the next command start the new one"
		if p.Managed {
			cure = "`sudo banger system install` installs this one"
		}
		a.note("the daemon is version %s and this is %s: %s; VMs keep running", daemon, o.Version, cure)
	}
	o.OnUnresponsive = func(vm string) {
		a.note("the guest of VM %s does not answer: %s; waiting for it, for %s at most", vm, whyNot(c, vm), guest.AnswerTime)
	}
	c = daemonstart.Daemon{Paths: p, BeforeStart: a.endUpdate(p)}.Client(o)
	return c, nil
}

// whyNot returns why a guest may not be answering, judged by the state of its VM.
func whyNot(c *client.Client, name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), whyTime)
	defer cancel()
	v, err := c.VMs().Show(ctx, name)
	switch {
	case err != nil:
		return "the daemon gives no reason"
	case v.State == api.StatePaused:
		return "the VM is paused (" + v.Reason + ")"
	case v.State != api.StateRunning:
		return "the VM is " + string(v.State)
	}
	return "it is busy, or it hangs"
}

// whyTime bounds whyNot's request to the daemon.
const whyTime = 3 * time.Second

// endUpdate ends an update of the user's own installation that was interrupted,
// before the daemon is started.
func (a *app) endUpdate(p paths.Paths) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if p.Managed {
			return "", nil
		}
		dir, err := programDir()
		if err != nil {
			return "", err
		}
		return update.RecoverUser(ctx, p, dir, a.step)
	}
}

// note prints one line on standard error. The line may quote a daemon's answer, and
// root may be talking to another user's daemon: control characters are escaped.
func (a *app) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(a.err, printable(fmt.Sprintf("banger: "+format, args...)))
}

// terminal returns the descriptor behind a reader or writer, if it is a
// terminal.
func terminal(v any) (*os.File, bool) {
	f, ok := v.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether w supports colours (no-color.org; TERM of terminfo(5)).
func (a *app) colour(w io.Writer) bool {
	_, tty := terminal(w)
	return tty && a.env("NO_COLOR") == "" && cmp.Or(a.env("TERM"), "dumb") != "dumb"
}

// guestText returns a writer for text from a guest, and a function to call at its end.
// Control characters never reach a terminal.
func (a *app) guestText() (w io.Writer, end func() error) {
	if _, tty := terminal(a.out); !tty {
		return a.out, func() error { return nil }
	}
	safe := console.NewTerminalWriter(a.out)
	return safe, safe.Close
}

// width is the number of columns of the terminal behind w.
func width(w io.Writer) int {
	if f, ok := terminal(w); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}

// printable escapes control characters, which may come from a guest or a file.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
}
