package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/forward"
	"banger/internal/host/proc"
	"banger/internal/paths"
)

const (
	// endTime is how long a forwarder may take to end after a request.
	endTime = 2 * time.Second
	// killTime bounds the end of a process after SIGKILL.
	killTime  = 10 * time.Second
	openTries = 3 // how many forwarders are tried if one ends during an order
	// dyingTime bounds the wait for the end of a process whose sockets are closed. On a host
	// that is overloaded that takes seconds.
	dyingTime = 30 * time.Second
	// recoverTime is how long Recover waits for those that it ends.
	recoverTime = 500 * time.Millisecond
	// reopenPause is the pause before ports that are not served are tried again; it
	// grows up to longestPause while that fails.
	reopenPause  = time.Second
	longestPause = 30 * time.Second
)

// Manager manages forwarders for the daemon.
type Manager struct {
	paths  paths.Paths
	system bool
	log    *slog.Logger

	ctx  context.Context // ends with the daemon
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex // never held during a wait
	vms   map[string]*served
	locks map[string]*sync.Mutex // by id: held while a VM's forwarder is talked to or ended
}

// lock locks a VM's forwarder: one that does not answer blocks only its own VM.
func (m *Manager) lock(id string) (unlock func()) {
	m.mu.Lock()
	l := m.locks[id]
	if l == nil {
		l = &sync.Mutex{}
		m.locks[id] = l
	}
	m.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// get returns what is served for a VM, nil for nothing.
func (m *Manager) get(id string) *served {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vms[id]
}

// set sets what is served for a VM; nil is nothing.
func (m *Manager) set(id string, s *served) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s == nil {
		delete(m.vms, id)
		return
	}
	m.vms[id] = s
}

// served is a VM whose ports are or should be served.
type served struct {
	process *proc.Process // nil if none could be started yet
	ports   []api.PublishedPort
}

// ended reports whether no process serves the ports.
func (s *served) ended() bool { return s.process == nil || s.process.Ended() }

// dies reports whether the process did not follow an order, as err says, because it ends: its
// sockets go first, and that they are closed is how it is known. The end itself is waited for.
func (s *served) dies(ctx context.Context, err error) bool {
	if !errors.Is(err, errNoResponse) || !closed(err) {
		return errors.Is(err, errNoResponse) && s.process.Ended()
	}
	timer := time.NewTimer(dyingTime)
	defer timer.Stop()
	select {
	case <-s.process.Done():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// closeHandle releases the process, which itself keeps running.
func (s *served) closeHandle() {
	if s.process != nil {
		s.process.Close()
	}
}

// NewManager returns a manager without forwarders: call Recover.
func NewManager(p paths.Paths, system bool, log *slog.Logger) *Manager {
	m := &Manager{paths: p, system: system, log: log, vms: map[string]*served{}, locks: map[string]*sync.Mutex{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// Detach releases the forwarders, which keep running.
func (m *Manager) Detach() {
	m.stop()
	m.wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.vms {
		s.closeHandle()
	}
	clear(m.vms)
}

// Check reports whether ports can be listened on now.
func (m *Manager) Check(ctx context.Context, ports []api.PublishedPort) error {
	for _, p := range ports {
		socket, _, err := bind(ctx, p)
		if err != nil {
			return err
		}
		socket.Close()
	}
	return nil
}

// bind binds a port, and returns it with its number.
func bind(ctx context.Context, p api.PublishedPort) (*os.File, api.PublishedPort, error) {
	s, err := forward.Published(p)
	if err != nil {
		return nil, p, err
	}
	socket, at, err := forward.Bind(ctx, s.Listen)
	if err != nil {
		return nil, p, forward.Refused(err, s.Listen, "")
	}
	p.HostPort = int(at.Port())
	return socket, p, nil
}

// Recover finds the forwarders of an earlier daemon. published says which ports of a VM
// are to be served while it runs: a forwarder that dies before Reopen is called is
// replaced by one that serves these. A forwarder of a VM without such ports is ended; Recover returns
// the ids of those VMs.
func (m *Manager) Recover(ctx context.Context, published func(id string) []api.PublishedPort) (ended []string, err error) {
	found, err := proc.Find(ctx, func(args []string) bool { return vmOf(args, m.paths.VMs()) != "" })
	if err != nil {
		return nil, err
	}
	var ending sync.WaitGroup
	for _, p := range found {
		args, err := p.Cmdline()
		id := vmOf(args, m.paths.VMs())
		ports := published(id)
		switch {
		case err != nil || id == "": // it has just ended, or reports that it is something else now
			p.Close()
		case len(ports) > 0 && m.get(id) == nil:
			m.keep(id, p, ports)
		default:
			ended = append(ended, id)
			unlock := m.lock(id) // who serves the VM's ports again waits for its end
			ending.Add(1)
			m.wg.Go(func() {
				defer ending.Done()
				defer unlock()
				m.end(context.WithoutCancel(ctx), p)
			})
		}
	}
	over := make(chan struct{})
	m.wg.Go(func() { ending.Wait(); close(over) })
	select {
	case <-over:
	case <-time.After(recoverTime): // they end in the background
	}
	return ended, nil
}

// keep records a forwarder. The caller holds the VM's lock.
func (m *Manager) keep(id string, p *proc.Process, ports []api.PublishedPort) *served {
	s := &served{process: p, ports: ports}
	m.set(id, s)
	m.wg.Go(func() {
		select {
		case <-p.Done():
			m.retryServe(id, s, "")
		case <-m.ctx.Done():
		}
	})
	return s
}

// retryServe serves ports again that nobody has closed, and retries if that
// fails, as it does while another program has one of them. told is the failure that is
// known already.
func (m *Manager) retryServe(id string, s *served, told string) {
	for pause := reopenPause; ; pause = min(2*pause, longestPause) {
		select {
		case <-time.After(pause):
		case <-m.ctx.Done():
			return
		}
		err := m.replace(id, s)
		if err == nil || m.ctx.Err() != nil {
			return
		}
		if err.Error() != told {
			told = err.Error()
			m.log.Error("cannot serve the published ports of a VM yet; trying on", "vm", id, "error", err)
		}
	}
}

// replace starts another forwarder for the ports of s after one has ended, unless the VM's published
// ports have changed since.
func (m *Manager) replace(id string, s *served) error {
	defer m.lock(id)()
	if m.get(id) != s {
		return nil
	}
	ended := s.ended()
	if ended {
		if err := m.Check(m.ctx, s.ports); err != nil { // no process is needed to find that out
			return err
		}
	}
	if _, err := m.open(m.ctx, id, s.ports); err != nil {
		return err
	}
	if ended && s.process != nil {
		m.log.Warn("the forwarder of a VM's published ports died; there is another now", "vm", id, "pid", s.process.PID())
	} else {
		m.log.Info("the published ports of a VM are served at last", "vm", id)
	}
	return nil
}

// Open makes a forwarder serve exactly these ports of a VM, and returns them with the numbers that
// were chosen. If it fails, it undoes its changes as far as possible.
func (m *Manager) Open(ctx context.Context, id string, ports []api.PublishedPort) ([]api.PublishedPort, error) {
	defer m.lock(id)()
	return m.open(ctx, id, ports)
}

// Reopen is Open for ports that a VM has which runs already. What fails is tried again,
// until it succeeds, or the daemon ends, or the ports are opened or closed otherwise.
func (m *Manager) Reopen(ctx context.Context, id string, ports []api.PublishedPort) error {
	defer m.lock(id)()
	_, err := m.open(ctx, id, ports)
	if err == nil {
		return nil
	}
	s := m.get(id)
	if s == nil {
		s = &served{}
		m.set(id, s)
	}
	s.ports = ports
	m.wg.Go(func() { m.retryServe(id, s, err.Error()) })
	return err
}

func (m *Manager) open(ctx context.Context, id string, ports []api.PublishedPort) ([]api.PublishedPort, error) {
	for tries := 1; ; tries++ {
		chosen, died, err := m.openOnce(ctx, id, ports)
		if !died || tries == openTries {
			return chosen, err
		}
	}
}

// openOnce is open with one forwarder, and reports whether that one ended during it.
func (m *Manager) openOnce(ctx context.Context, id string, ports []api.PublishedPort) (chosen []api.PublishedPort, died bool, err error) {
	before := m.get(id)
	s := before
	if s == nil || s.ended() {
		p, err := m.spawn(id)
		if err != nil {
			return nil, false, api.Errorf(api.KindInternal, "cannot start the port forwarder of the VM: %w", err)
		}
		s = m.keep(id, p, nil)
	}
	chosen, err = m.adjust(ctx, m.paths.VM(id), ports)
	died = s.dies(ctx, err)
	switch {
	case err == nil:
		s.ports = chosen
		if before != nil && before != s {
			before.closeHandle()
		}
	case before != s:
		m.close(context.WithoutCancel(ctx), id)
		if before != nil {
			m.set(id, before) // whose ports are still to be served
		}
	}
	return chosen, died, err
}

// adjust makes a forwarder serve ports: it adds new ones first, then removes others.
func (m *Manager) adjust(ctx context.Context, dir string, ports []api.PublishedPort) ([]api.PublishedPort, error) {
	has, err := ask(ctx, dir, order{}, nil)
	if err != nil {
		return nil, m.controlError(err)
	}
	var chosen, added []api.PublishedPort
	for _, p := range ports {
		if !slices.Contains(has, p) {
			if p, err = m.add(ctx, dir, p); err != nil {
				_ = m.remove(ctx, dir, added) // why one could not be added says more
				return nil, err
			}
			added = append(added, p)
		}
		chosen = append(chosen, p)
	}
	return chosen, m.remove(ctx, dir, slices.DeleteFunc(has, func(p api.PublishedPort) bool { return slices.Contains(chosen, p) }))
}

func (m *Manager) add(ctx context.Context, dir string, p api.PublishedPort) (api.PublishedPort, error) {
	socket, p, err := bind(ctx, p)
	if err != nil {
		return p, err
	}
	defer socket.Close()
	if _, err := ask(ctx, dir, order{Add: &p}, socket); err != nil {
		return p, m.controlError(err)
	}
	return p, nil
}

func (m *Manager) remove(ctx context.Context, dir string, ports []api.PublishedPort) error {
	for _, p := range ports {
		if _, err := ask(ctx, dir, order{Remove: &p}, nil); err != nil {
			return m.controlError(err)
		}
	}
	return nil
}

func (m *Manager) controlError(err error) error {
	return api.Errorf(api.KindInternal, "the port forwarder %w", fmt.Errorf("%w: %w", errNoResponse, err))
}
