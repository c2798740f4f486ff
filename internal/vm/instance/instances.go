package instance

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/paths"
	"banger/internal/vm/tasks"
)

// Options are what all instances of a daemon have in common.
type Options struct {
	Paths   paths.Paths
	Version string // sent to agents
	// Watch is called for each log that a VMM writes (vm.Options); may be nil.
	Watch func(log string, looked func()) (stop func())
	// DiskUsage returns how full the disk of a VM is. It is nil in user mode, in which no disk
	// is attached.
	DiskUsage func(ctx context.Context, v api.VM) (*api.DiskUsage, error)
	// Room returns an error if the disks' file system has no n bytes free.
	Room   func(n int64) error
	Logger *slog.Logger

	Answer     time.Duration // how long an agent may take to answer a connection; 0: 5 seconds
	StallEvery time.Duration // how often the host's disk is checked for space; 0: 2 seconds
}

// answerTime is how long an agent may take to answer a connection before another is
// tried: a guest that boots takes longer, but one that runs may have missed it.
const answerTime = 5 * time.Second

// Instances makes the instances of a daemon, and runs what each of them needs in the background.
type Instances struct {
	Options
	tasks   *tasks.Group
	linking context.Context // ends when links to agents are given up
	unlink  context.CancelFunc
	links   sync.WaitGroup
}

// New returns what makes instances, which run in the background in group.
func New(o Options, group *tasks.Group) *Instances {
	if o.Answer == 0 {
		o.Answer = answerTime
	}
	if o.StallEvery == 0 {
		o.StallEvery = stallEvery
	}
	linking, unlink := context.WithCancel(group.Context())
	return &Instances{Options: o, tasks: group, linking: linking, unlink: unlink}
}

// Detach closes the links to all agents permanently.
func (s *Instances) Detach() {
	s.unlink()
	s.AwaitLinks()
}

// AwaitLinks waits until all links have ended.
func (s *Instances) AwaitLinks() { s.links.Wait() }

// New returns the instance of a running machine. vm returns the record of its VM. Call Begin.
func (s *Instances) New(id string, vm func() api.VM, m driver.Machine) *Instance {
	return &Instance{id: id, vm: vm, machine: m, up: make(chan struct{}), gone: make(chan struct{}), changed: make(chan struct{})}
}

// Begin keeps a link to the instance's agent and watches its machine, logs and disk, until the machine
// ends: then it calls ended. If the daemon ends first, the machine is released, and keeps running.
func (s *Instances) Begin(i *Instance, ended func()) {
	unwatch := s.watchLogs(i.id, func() { s.endHalted(i) })
	s.links.Go(func() { s.keepLink(i) })
	s.tasks.Go(func() { s.watchStall(i) })
	if _, pauses := i.machine.(driver.Staller); s.DiskUsage != nil && !pauses {
		s.tasks.Go(func() { s.watchHostDisk(i) })
	}
	s.tasks.Go(func() {
		defer unwatch()
		// Even if it has ended: a caller may still wait for its agent.
		defer i.machine.Release()
		select {
		case <-i.machine.Done():
			ended()
		case <-s.tasks.Context().Done():
		}
	})
}

// watchLogs keeps the logs that the VM's VMM writes within bounds until stop is called,
// and calls spoke when the guest has written to its console.
func (s *Instances) watchLogs(id string, spoke func()) (stop func()) {
	var stops []func()
	if s.Watch != nil {
		stops = append(stops,
			s.Watch(s.console(id), spoke), s.Watch(filepath.Join(s.Paths.VM(id), paths.VMLog), nil))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// console returns the path of the log of a VM's console.
func (s *Instances) console(id string) string { return filepath.Join(s.Paths.VM(id), paths.VMConsole) }

// keepLink connects to the agent, and again whenever the link breaks, for as
// long as the machine runs.
func (s *Instances) keepLink(i *Instance) {
	ctx, cancel := context.WithCancel(s.linking)
	defer cancel()
	s.links.Go(func() {
		select {
		case <-i.machine.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	const minPause, maxPause = 50 * time.Millisecond, 5 * time.Second
	for pause := minPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		begin := time.Now()
		link, err := s.connect(ctx, i)
		if err == nil {
			i.setLink(link)
			i.markUp()
			select {
			case <-link.Done():
			case <-ctx.Done():
			}
			i.setLink(nil)
			link.Close()
			pause = minPause
		} else if ctx.Err() == nil {
			s.Logger.Warn("no link to the agent", "vm", i.id, "pid", i.machine.PID(), "error", err)
		}
		if time.Since(begin) > maxPause { // that was pause enough
			pause = minPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (s *Instances) connect(ctx context.Context, i *Instance) (*guest.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Answer)
	defer cancel()
	conn, err := i.machine.DialGuest(ctx)
	if err != nil {
		return nil, err
	}
	link, err := s.greet(ctx, conn, i.vm())
	if err == nil {
		link.KeepTime()
	}
	return link, err
}

// greet greets the agent of a VM. One that began with a snapshot becomes another one than that by the first
// greeting; the later ones change nothing.
func (s *Instances) greet(ctx context.Context, conn net.Conn, v api.VM) (*guest.Link, error) {
	if v.Generation == 0 {
		return guest.Connect(ctx, conn, s.Version)
	}
	return guest.ConnectAs(ctx, conn, s.Version,
		agentproto.Incarnation{Generation: v.Generation, Lineage: v.ID, Mode: agentproto.ModeChild}, &agentproto.Identity{Hostname: v.Name})
}
