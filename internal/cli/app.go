package cli

import (
	"context"
	"io"
	"sync"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/buildinfo"
	"banger/internal/daemonstart"
	"banger/internal/guest"
	"banger/internal/paths"
	"banger/internal/update"
)

// app is what every command works with: the standard streams, the signals, and the daemon.
type app struct {
	std     *streams
	signals *interruption
	from    origin
	// otherVersion says once, however many clients a command has, that the daemon's version is another.
	otherVersion sync.Once
}

func newApp(in io.Reader, out, err io.Writer, env func(string) string) *app {
	return &app{std: &streams{in: in, out: out, err: err, env: env}}
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
		a.otherVersion.Do(func() {
			a.std.note("the daemon is version %s and this is %s: %s; VMs keep running", daemon, o.Version, cure)
		})
	}
	o.OnUnresponsive = func(vm string) {
		a.std.note("the guest of VM %s does not answer: %s; waiting for it, for %s at most", vm, whyNot(c, vm), guest.AnswerTime)
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
		return update.RecoverUser(ctx, p, dir, a.std.step)
	}
}
