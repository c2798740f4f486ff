// Package process runs programs in the guest: it finds the user, the environment and the file of
// each, starts it on pipes or on a terminal, carries its streams, and returns how it ended.
package process

import (
	"cmp"
	"context"
	"os"
	"syscall"
	"time"

	"banger/api"
)

// HangUpGrace is the time between the request to end a program and SIGKILL.
const HangUpGrace = 5 * time.Second

// Options configure a Runner.
type Options struct {
	// Root is for a fake guest, which is an ordinary process on the host: programs start there,
	// and paths are resolved beneath it. Empty in a guest.
	Root string
	// Reaper waits for the programs; nil: a new one, which reaps orphans, too, if this process is
	// PID 1.
	Reaper *Reaper
	// Patience is called when the guest ends, and returns how long programs may take to end; 0, or
	// a nil Patience: HangUpGrace.
	Patience func() time.Duration
	// Spawn calls start, which starts a program with sys, when and where programs may start; nil:
	// at once, where this process is.
	Spawn func(ctx context.Context, sys *syscall.SysProcAttr, start func() error) error
}

// Runner runs the programs of one guest.
type Runner struct {
	guest    guest
	reaper   *Reaper
	patience func() time.Duration
	spawn    func(ctx context.Context, sys *syscall.SysProcAttr, start func() error) error
	ctx      context.Context // ends with the guest
	held     held
	stop     func() // stops the reaper
}

// New returns a runner for a guest that ends with ctx.
func New(ctx context.Context, o Options) *Runner {
	r := &Runner{guest: guest{o.Root}, reaper: o.Reaper, patience: o.Patience, spawn: o.Spawn, ctx: ctx, stop: func() {}}
	if r.spawn == nil {
		r.spawn = func(_ context.Context, _ *syscall.SysProcAttr, start func() error) error { return start() }
	}
	if r.reaper == nil {
		r.reaper = NewReaper(os.Getpid() == 1)
		r.startReaper()
	}
	return r
}

// startReaper runs the reaper until Close: it outlives ctx, as the programs do.
func (r *Runner) startReaper() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.reaper.Run(ctx)
	}()
	r.stop = func() { cancel(); <-done }
}

// Close waits for what serves programs that have ended, and stops the reaper. Before it is called, the
// runner's context and all programs have to end.
func (r *Runner) Close() {
	r.held.work.Wait()
	r.stop()
}

// Account finds the user that a client names: "name", "uid", and either with ":group" or ":gid";
// empty is root. As in containers, a number need not be in /etc/passwd, and an explicit group is the
// only one the program has.
func (r *Runner) Account(spec string) (Account, error) { return r.guest.account(spec) }

// Home returns root's home directory.
func (r *Runner) Home() string { return r.guest.superuser().Home }

// Command prepares a program, which does not run yet.
func (r *Runner) Command(exec api.Exec) *Command { return newCommand(r, exec) }

// grace is the time between the request to end a program and SIGKILL.
func (r *Runner) grace() time.Duration {
	if r.ctx.Err() == nil || r.patience == nil {
		return HangUpGrace
	}
	return cmp.Or(r.patience(), HangUpGrace)
}
