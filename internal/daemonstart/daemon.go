// Package daemonstart reaches the daemon of an installation of this machine, and starts it if
// it is not running, or waits for it if systemd runs it. It is what banger's own programs
// add to package client, which only talks to a daemon that runs.
package daemonstart

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"banger/api"
	"banger/client"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// Daemon is the daemon of one installation.
type Daemon struct {
	Paths paths.Paths
	// BeforeStart, unless nil, is called before the daemon is started, while nobody else can
	// start it. It may return the daemon's program.
	BeforeStart func(context.Context) (program string, err error)
}

// Client returns a client that starts the daemon if it is not running.
func Client(p paths.Paths) *client.Client { return Daemon{Paths: p}.Client(client.Options{}) }

// System returns a client of this machine's service, which waits for the daemon if systemd
// is restarting it.
func System() *client.Client { return Client(paths.System()) }

// Running returns a client that fails if the daemon is not running.
func Running(p paths.Paths) *client.Client {
	d := Daemon{Paths: p}
	return client.With(client.Options{Log: p.DaemonLog(), Dial: func(ctx context.Context) (net.Conn, error) {
		return d.dial(ctx, false)
	}})
}

// Client returns a client that starts the daemon if it is not running. It completes o.
func (d Daemon) Client(o client.Options) *client.Client {
	o.Log = d.Paths.DaemonLog()
	o.Dial = func(ctx context.Context) (net.Conn, error) { return d.dial(ctx, true) }
	return client.With(o)
}

// dial connects to the daemon, and with start starts it or waits for it if necessary. A
// daemon that it has started may be ended by others before it is asked for anything.
func (d Daemon) dial(ctx context.Context, start bool) (net.Conn, error) {
	for started := 0; ; started++ {
		conn, err := fsx.DialUnix(ctx, d.Paths.Socket())
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, os.ErrPermission):
			return nil, api.Errorf(api.KindDenied, "cannot reach the daemon: %w", err).
				WithHint("ls -ld %s   shows its owner: banger was run there as another user, for example with sudo; change the owner back, or set BANGER_HOME", d.Paths.Data)
		case !absent(err):
			return nil, api.Errorf(api.KindInternal, "cannot reach the daemon: %w", err)
		case !start:
			return nil, api.Errorf(api.KindNotFound, "the daemon is not running: %w", err)
		case d.Paths.Managed:
			return d.await(ctx)
		case started > maxEnded:
			return nil, api.Errorf(api.KindInternal, "cannot reach the daemon just started: %w", err).
				WithHint("cat %s", d.Paths.DaemonLog())
		}
		if err := d.start(ctx); err != nil {
			return nil, err
		}
	}
}

// absent reports whether a failed dial means that no daemon listens.
func absent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ECONNREFUSED)
}

// StopAndWait ends the daemon and waits until it has ended. No client can start another
// one during the wait.
func StopAndWait(ctx context.Context, p paths.Paths) error {
	mayStart, err := lock(ctx, p.StartLock())
	if err != nil {
		return api.AsError(err)
	}
	defer mayStart()
	return stopHeld(ctx, p)
}

func stopHeld(ctx context.Context, p paths.Paths) error {
	if err := Running(p).Daemon().Stop(ctx); err != nil {
		return api.AsError(err)
	}
	// The daemon holds this lock until it ends.
	gone, err := lock(ctx, p.Lock())
	if err != nil {
		return api.AsError(err)
	}
	gone()
	return nil
}

// Halted prevents everybody from starting the daemon.
type Halted struct {
	d       Daemon
	release func()
}

// Halt ends the daemon if it runs, waits until it has ended, and prevents others from
// starting it until the caller starts it through the result.
func Halt(ctx context.Context, p paths.Paths) (*Halted, error) {
	mayStart, err := lock(ctx, p.StartLock())
	if err != nil {
		return nil, api.AsError(err)
	}
	if err := stopHeld(ctx, p); err != nil && api.KindOf(err) != api.KindNotFound {
		mayStart()
		return nil, err
	}
	return &Halted{Daemon{Paths: p}, mayStart}, nil
}

// Start starts a daemon's program, returns when it answers, and ends the halt.
func (h *Halted) Start(ctx context.Context, program string) error {
	if err := h.d.spawn(ctx, program); err != nil {
		return err
	}
	h.release()
	return nil
}
