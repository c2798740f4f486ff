package vm

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest"
	"banger/internal/host/console"
	"banger/internal/paths"
)

// instance is a VM's VMM process from its start or recovery to its
// end.
type instance struct {
	machine driver.Machine
	asked   atomic.Bool   // it was asked to shut down
	up      chan struct{} // closed when the agent answered for the first time
	gone    chan struct{} // closed when the VMM has ended and that is recorded
	stalled atomic.Bool   // it is stopped because the host's disk is full

	diskTrouble string // why its disk cannot be written; Service.mu guards it

	mu      sync.Mutex
	link    *guest.Link   // nil while there is none
	changed chan struct{} // closed and replaced when link changes
	reason  string        // why it will end, if the daemon ends it
}

func (r *instance) setLink(l *guest.Link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.link = l
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *instance) bootID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == nil {
		return ""
	}
	return r.link.BootID()
}

func (r *instance) setReason(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason = why
}

// setFirstReason is setReason if none is known.
func (r *instance) setFirstReason(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reason == "" {
		r.reason = why
	}
}

// open opens a channel to the agent, as soon as there is a link.
func (r *instance) open(ctx context.Context) (net.Conn, error) {
	for {
		r.mu.Lock()
		link, changed := r.link, r.changed
		r.mu.Unlock()
		if link != nil {
			if c, err := link.Open(ctx); err == nil {
				return c, nil
			}
		}
		select {
		case <-changed:
		case <-r.machine.Done():
			return nil, api.Errorf(api.KindConflict, "the VM has stopped")
		case <-ctx.Done():
			return nil, api.Errorf(api.KindTimeout, "the guest does not answer: %w", context.Cause(ctx))
		}
	}
}

// runOf returns the VM's run, nil when no VMM runs.
func (s *Service) runOf(e *entry) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.run
}

// lastRun returns the VM's run, even if it has just ended.
func (s *Service) lastRun(e *entry) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.run == nil {
		return e.last
	}
	return e.run
}

// adopt records a running machine: one that was just started, or one that was recovered.
func (s *Service) adopt(e *entry, m driver.Machine) {
	r := &instance{machine: m, up: make(chan struct{}), gone: make(chan struct{}), changed: make(chan struct{})}
	s.mu.Lock()
	e.run, e.last = r, r
	s.mu.Unlock()
	id := e.id
	if data, err := json.Marshal(handles{Version: 1, Machine: m.Handle()}); err == nil {
		// Only a cache: after a failure /proc is scanned later.
		_ = os.WriteFile(filepath.Join(s.Paths.VM(id), paths.VMHandles), data, 0o600)
	}
	unwatch := s.watch(id, func() { s.endHalted(e, r) })
	s.links.Go(func() { s.keepLink(id, r) })
	s.wg.Go(func() { s.watchStall(e, r) })
	if _, pauses := m.(driver.Staller); s.Host != nil && !pauses {
		s.wg.Go(func() { s.watchHostDisk(e, r) })
	}
	s.wg.Go(func() {
		defer unwatch()
		// Even if it has ended: a caller may still wait for its agent.
		defer m.Release()
		select {
		case <-m.Done():
			s.ended(e, r)
		case <-s.ctx.Done():
		}
	})
}

// watch keeps the logs that the VM's VMM writes within bounds until stop is called,
// and calls spoke when the guest has written to its console.
func (s *Service) watch(id string, spoke func()) (stop func()) {
	var stops []func()
	if s.Watch != nil {
		stops = append(stops,
			s.Watch(filepath.Join(s.Paths.VM(id), paths.VMConsole), spoke), s.Watch(filepath.Join(s.Paths.VM(id), paths.VMLog), nil))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// keepLink connects to the agent, and again whenever the link breaks, for as
// long as the machine runs.
func (s *Service) keepLink(id string, r *instance) {
	ctx, cancel := context.WithCancel(s.linking)
	defer cancel()
	s.links.Go(func() {
		select {
		case <-r.machine.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	const minPause, maxPause = 50 * time.Millisecond, 5 * time.Second
	for pause := minPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		begin := time.Now()
		link, err := s.connect(ctx, r.machine)
		if err == nil {
			r.setLink(link)
			r.markUp()
			select {
			case <-link.Done():
			case <-ctx.Done():
			}
			r.setLink(nil)
			link.Close()
			pause = minPause
		} else if ctx.Err() == nil {
			s.Logger.Warn("no link to the agent", "vm", id, "pid", r.machine.PID(), "error", err)
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

// answerTime is how long an agent may take to answer a connection before another is
// tried: a guest that boots takes longer, but one that runs may have missed it.
const answerTime = 5 * time.Second

func (s *Service) connect(ctx context.Context, m driver.Machine) (*guest.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answer)
	defer cancel()
	conn, err := m.DialGuest(ctx)
	if err != nil {
		return nil, err
	}
	link, err := guest.Connect(ctx, conn, s.Version)
	if err == nil {
		link.KeepTime()
	}
	return link, err
}

func (r *instance) markUp() {
	select {
	case <-r.up:
	default:
		close(r.up) // only keepLink calls this
	}
}

// unknown is the exit status of a VMM that is not a child of this process.
const unknown = -1

// lastKernelWords is Linux's message on every console, "quiet" or not, before it
// reboots or powers off (kernel/reboot.c, pr_emerg).
var lastKernelWords = regexp.MustCompile(`(?m)\breboot: (Restarting system|Power down)`)

// whyEnded returns why a VMM has ended without a request. If its status is
// unknown, the guest's console shows it.
func (s *Service) whyEnded(id string, exit driver.Exit) string {
	off := exit.Code == 0
	if exit.Code == unknown {
		tail, _ := console.Tail(filepath.Join(s.Paths.VM(id), paths.VMConsole), 2)
		off = lastKernelWords.Match(tail)
	}
	if off && exit.Message == "" {
		return "the guest powered off"
	}
	return "the VMM ended" + describe(exit)
}

// ended records that a VMM process has ended.
func (s *Service) ended(e *entry, r *instance) {
	r.mu.Lock()
	why := r.reason
	r.mu.Unlock()
	after := api.StateStopped
	if why == "" {
		if why = s.whyPanicked(e.id, r.machine.Exit()); why != "" {
			after = api.StateFailed
		} else {
			why = s.whyEnded(e.id, r.machine.Exit())
		}
	}
	s.letGo(s.ctx, e.id)
	s.recordEnded(context.WithoutCancel(s.ctx), e, after, why)
	close(r.gone)
	s.autoRemove(e)
}

// letGo removes what there is for a VM besides its VMM, which has ended.
func (s *Service) letGo(ctx context.Context, id string) {
	ctx = context.WithoutCancel(ctx)
	s.releaseHost(ctx, id)
	s.closePorts(ctx, id)
}

// recordEnded records that a VM does not run. It is one with forgetting its run: who
// records that a VM has started looks for that.
func (s *Service) recordEnded(ctx context.Context, e *entry, after api.State, why string) {
	e.row.Lock()
	defer e.row.Unlock()
	if state := s.get(e).State; state == api.StateRunning || state == api.StatePaused {
		now := time.Now()
		s.noteLocked(ctx, e, func(v *api.VM) {
			v.State, v.Reason, v.StoppedAt, v.BootID = after, why, &now, ""
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.run = nil
}

// killRun ends the VM's VMM, if one runs, and waits until that is recorded.
func (s *Service) killRun(ctx context.Context, e *entry, why string) error {
	if r := s.runOf(e); r != nil {
		return r.kill(ctx, why)
	}
	return nil
}

// kill ends the VMM, and waits until that is recorded.
func (r *instance) kill(ctx context.Context, why string) error {
	r.setReason(why)
	if err := r.machine.Kill(ctx); err != nil {
		return err
	}
	select {
	case <-r.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// DialGuest opens a channel to the agent of a running VM.
func (s *Service) DialGuest(ctx context.Context, ref string) (net.Conn, error) {
	r, err := s.running(ref)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, guest.AnswerTime)
	defer cancel()
	conn, err := r.open(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = guest.Unanswered(s.called(ref))
	}
	return conn, err
}

// called returns the name of the VM that ref means.
func (s *Service) called(ref string) string {
	if v, err := s.Find(ref); err == nil {
		return v.Name
	}
	return ref
}

func (s *Service) running(ref string) (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	return e.run, e.reachable()
}

// reachable refuses a VM that is not running. The caller holds Service.mu.
func (e *entry) reachable() error {
	if e.run == nil && e.recovering() {
		return api.Errorf(api.KindTimeout, "cannot determine yet whether VM %s runs: it is being recovered", e.vm.Name).
			WithHint("journalctl -u bangerd -u bangerd-root")
	}
	if e.run == nil {
		return api.Errorf(api.KindConflict, "VM %s is not running (%s)", e.vm.Name, e.vm.State).
			WithHint("banger vm start %s", e.vm.Name)
	}
	if e.run.stalled.Load() {
		return errStalled(e.vm.Name)
	}
	return nil
}

// Wait waits until the VM is not running, and returns it.
func (s *Service) Wait(ctx context.Context, ref string) (api.VM, error) {
	s.mu.Lock()
	e, err := s.find(ref)
	s.mu.Unlock()
	if err != nil {
		return api.VM{}, err
	}
	if err := s.awaitRecovery(ctx, e); err != nil {
		return api.VM{}, err
	}
	if r := s.runOf(e); r != nil {
		select {
		case <-r.gone:
		case <-ctx.Done():
			return api.VM{}, context.Cause(ctx)
		}
	}
	return s.get(e), nil
}

// ConsolePath returns the path of a VM's console log, and a channel that is closed
// when nothing more will be written to it.
func (s *Service) ConsolePath(_ context.Context, ref string) (string, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(ref)
	if err != nil {
		return "", nil, err
	}
	done := make(chan struct{})
	if e.run != nil {
		done = e.run.gone
	} else {
		close(done)
	}
	return filepath.Join(s.Paths.VM(e.id), paths.VMConsole), done, nil
}
