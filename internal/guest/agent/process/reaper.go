package process

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Reaper is the only place that waits for child processes. As init the agent has to wait for every
// orphan; a second waiter would lose exit statuses to it.
type Reaper struct {
	all bool

	mu       sync.Mutex
	children map[int]*Child
}

// Child is a process that a Reaper started.
type Child struct {
	reaper *Reaper
	pid    int
	done   chan struct{}
	status syscall.WaitStatus
}

// NewReaper returns a reaper. all makes it wait for orphans, too, as init must. It does nothing
// until Run.
func NewReaper(all bool) *Reaper {
	return &Reaper{all: all, children: map[int]*Child{}}
}

// Run waits for processes until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	signals := make(chan os.Signal, 1) // one is enough: reap collects all
	signal.Notify(signals, syscall.SIGCHLD)
	defer signal.Stop(signals)
	for {
		r.reap()
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
	}
}

// reap collects every process that has ended. It holds the lock, so that Start registers a new
// process before its end can be collected.
func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.all {
		for pid := range r.children {
			r.waitFor(pid)
		}
		return
	}
	for r.waitFor(-1) {
	}
}

// waitFor collects one process and reports whether there was one.
func (r *Reaper) waitFor(pid int) bool {
	var status syscall.WaitStatus
	for {
		got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			return false
		}
		if child := r.children[got]; child != nil {
			child.status = status
			delete(r.children, got)
			close(child.done)
		}
		return true
	}
}

// Start runs a program. The process leads a new session and a new process group if attr says so.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr) (*Child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	c := &Child{reaper: r, pid: pid, done: make(chan struct{})}
	r.children[pid] = c
	return c, nil
}

// PID returns the process id.
func (c *Child) PID() int { return c.pid }

// Done is closed when the process has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Status returns how the process ended, once Done is closed.
func (c *Child) Status() syscall.WaitStatus { return c.status }

// SignalGroup sends a signal to the process group that the process leads. It does nothing once the
// process has been waited for: its id may then belong to another process.
func (c *Child) SignalGroup(sig syscall.Signal) error {
	c.reaper.mu.Lock()
	defer c.reaper.mu.Unlock()
	if c.reaper.children[c.pid] != c {
		return nil
	}
	return syscall.Kill(-c.pid, sig)
}
