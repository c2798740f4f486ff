package vm

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"

	"banger/api"
	"banger/internal/guest/forward"
	"banger/internal/op"
)

// Ports serves the published ports of VMs, in processes that outlive the daemon as VMs do.
// internal/publish implements it.
type Ports interface {
	// Check reports whether ports can be listened on now.
	Check(ctx context.Context, ports []api.PublishedPort) error
	// Open serves exactly these ports of the VM, and returns them with the numbers that were
	// chosen for 0.
	Open(ctx context.Context, id string, ports []api.PublishedPort) ([]api.PublishedPort, error)
	Close(ctx context.Context, id string)
	// Recover finds the processes of an earlier daemon, and ends those of VMs that have no ports
	// to serve according to published.
	Recover(ctx context.Context, published func(id string) []api.PublishedPort) (ended []string, err error)
	// Reopen is Open for a VM that already runs. It retries until it succeeds, or the daemon
	// ends, or Open or Close is called for the VM.
	Reopen(ctx context.Context, id string, ports []api.PublishedPort) error
}

// maxPublished is how many ports a VM may publish: each costs a socket, and all are
// in the VM's record.
const maxPublished = 100

// checkPublished refuses ports that are invalid on any host.
func checkPublished(ports []api.PublishedPort) ([]api.PublishedPort, error) {
	if len(ports) > maxPublished {
		return nil, api.Errorf(api.KindInvalid, "cannot publish %d ports: the limit is %d", len(ports), maxPublished)
	}
	var all []api.PublishedPort
	for _, p := range ports {
		s, err := forward.Published(p)
		if err != nil {
			return nil, err
		}
		p.Address = netip.MustParseAddrPort(s.Listen.Address).Addr().String()
		for _, other := range all {
			if clash(p, other) {
				return nil, api.Errorf(api.KindInvalid, "cannot publish both %s and %s: they listen on the same port", other, p).
					WithHint("choose another host port, or 0 for a free one")
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// samePort reports whether two ports are the same; one may be written without its address.
func samePort(a, b api.PublishedPort) bool {
	for _, p := range []*api.PublishedPort{&a, &b} {
		if s, err := forward.Published(*p); err == nil {
			p.Address = netip.MustParseAddrPort(s.Listen.Address).Addr().String()
		}
	}
	return a == b
}

// clash reports whether two ports cannot be listened on at once.
func clash(a, b api.PublishedPort) bool {
	x, y := netip.MustParseAddr(a.Address).Unmap(), netip.MustParseAddr(b.Address).Unmap()
	return a.Protocol == b.Protocol && a.HostPort == b.HostPort && a.HostPort != 0 &&
		x.Is4() == y.Is4() && (x == y || x.IsUnspecified() || y.IsUnspecified())
}

// portsSteps serve the VM's published ports before it boots, so that a used port is noticed early.
// They end with its VMM, or by the step's undo.
func (s *Service) portsSteps(e *entry) []op.Step {
	v := s.get(e)
	if len(v.Publish) == 0 {
		return nil
	}
	return []op.Step{{
		Name: "ports",
		Do:   func(ctx context.Context, _ api.Report) error { return s.servePorts(ctx, e) },
		Undo: func(ctx context.Context) error {
			if s.runOf(e) == nil {
				s.closePorts(ctx, v.ID)
			}
			return nil
		},
	}}
}

// servePorts serves the VM's published ports, if it has any, and records those that
// were chosen.
func (s *Service) servePorts(ctx context.Context, e *entry) error {
	v := s.get(e)
	if len(v.Publish) == 0 {
		return nil
	}
	chosen, err := s.openPorts(ctx, v, v.Publish)
	if err != nil || slices.Equal(chosen, v.Publish) {
		return err
	}
	return s.update(ctx, e, func(v *api.VM) { v.Publish = chosen })
}

// openPorts serves exactly these ports. A port of another running VM is in use even while the process
// that serves it is being replaced.
func (s *Service) openPorts(ctx context.Context, v api.VM, ports []api.PublishedPort) ([]api.PublishedPort, error) {
	if s.Ports == nil {
		return nil, api.Errorf(api.KindUnsupported, "this daemon cannot publish ports")
	}
	if err := s.taken(v.ID, ports, false); err != nil {
		return nil, err
	}
	var chosen []api.PublishedPort
	err := s.whoPublishes(v.ID, ports, func() (err error) {
		chosen, err = s.Ports.Open(ctx, v.ID, ports)
		return err
	})
	return chosen, err
}

func (s *Service) closePorts(ctx context.Context, id string) {
	if s.Ports != nil {
		s.Ports.Close(ctx, id)
	}
}

// whoPublishes has ports taken by take, and names the VM that has one which is taken, or had it
// when take was called: it may have let go of it since.
func (s *Service) whoPublishes(id string, ports []api.PublishedPort, take func() error) error {
	had := s.taken(id, ports, true)
	err := take()
	if api.KindOf(err) == api.KindConflict {
		return cmp.Or(s.taken(id, ports, true), had, err)
	}
	return err
}

// taken refuses ports that another running VM publishes or, with working, one with an operation in
// progress: its ports may be served before it runs, and after.
func (s *Service) taken(id string, ports []api.PublishedPort, working bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.vms {
		if e.id == id || e.run == nil && !(working && e.busy != "") {
			continue
		}
		for _, p := range ports {
			for _, other := range e.vm.Publish {
				if clash(p, other) {
					return api.Errorf(api.KindConflict, "cannot publish %s: VM %s publishes %s", p, e.vm.Name, other).
						WithHint("choose another host port, or 0 for a free one")
				}
			}
		}
	}
	return nil
}

// Publish changes which ports of a VM are published: at once if it runs, otherwise from
// its next start on.
func (s *Service) Publish(ctx context.Context, ref string, req api.PublishVM) (api.VM, error) {
	e, err := s.begin(ref, "vm.publish", nil)
	if err != nil {
		return api.VM{}, err
	}
	defer s.release(e)
	ports, err := s.changed(s.get(e), req)
	if err != nil {
		return api.VM{}, err
	}
	if ports, err = s.openIfRunning(ctx, e, ports); err != nil {
		return api.VM{}, err
	}
	before := s.get(e)
	told, err := s.answered(ctx, e, func(v *api.VM) { v.Publish = ports })
	if err != nil {
		ports = before.Publish
		_, opened := s.openIfRunning(context.WithoutCancel(ctx), e, ports)
		err = errors.Join(err, opened)
	}
	if len(ports) == 0 {
		s.closePorts(ctx, e.id)
	}
	return told, err
}

// openIfRunning is openPorts for a VM that runs; those of another are served from its next
// start on.
func (s *Service) openIfRunning(ctx context.Context, e *entry, ports []api.PublishedPort) ([]api.PublishedPort, error) {
	r := s.runOf(e)
	if r == nil {
		return ports, nil
	}
	chosen, err := s.openPorts(ctx, s.get(e), ports)
	if s.closeIfEnded(ctx, e, r) {
		return ports, nil
	}
	return chosen, err
}

// closeIfEnded closes the ports of a VM that has ended, and says whether it has: its end may
// have closed them before they were opened.
func (s *Service) closeIfEnded(ctx context.Context, e *entry, r *instance) bool {
	select {
	case <-r.machine.Done():
		s.closePorts(context.WithoutCancel(ctx), e.id)
		return true
	default:
		return false
	}
}

// changed returns what is published after a change.
func (s *Service) changed(v api.VM, req api.PublishVM) ([]api.PublishedPort, error) {
	ports := slices.Clone(v.Publish)
	for _, p := range req.Remove {
		at := slices.Index(ports, p)
		if at < 0 {
			return nil, api.Errorf(api.KindNotFound, "VM %s does not publish %s", v.Name, p).WithHint("banger vm ports %s", v.Name)
		}
		ports = slices.Delete(ports, at, at+1)
	}
	for _, p := range req.Add {
		// Ports that are already published stay so. Host port 0 is another free one each time.
		if p.HostPort == 0 || !slices.ContainsFunc(ports, func(other api.PublishedPort) bool { return samePort(p, other) }) {
			ports = append(ports, p)
		}
	}
	return checkPublished(ports)
}

// findPorts finds the processes that serve the ports of VMs that run or have an operation to resume,
// and ends the other ones of an earlier daemon.
func (s *Service) findPorts(ctx context.Context, left []op.Unfinished) (ended []string) {
	if s.Ports == nil {
		return nil
	}
	ended, err := s.Ports.Recover(ctx, func(id string) []api.PublishedPort {
		s.mu.Lock()
		defer s.mu.Unlock()
		e := s.vms[id]
		started := slices.ContainsFunc(left, func(u op.Unfinished) bool { return u.Target == id })
		if e == nil || e.run == nil && e.busy == "" && !started {
			return nil
		}
		return e.vm.Publish
	})
	if err != nil {
		s.Logger.Error("cannot find the forwarders of published ports", "error", err)
	}
	return ended
}

// reopenPorts serves the ports of running VMs without an operation. Those of the others follow when
// their operations have ended.
func (s *Service) reopenPorts(ctx context.Context) {
	s.mu.Lock()
	var all []*entry
	for _, e := range s.vms {
		if e.run != nil && e.busy == "" {
			all = append(all, e)
		}
	}
	s.mu.Unlock()
	for _, e := range all {
		s.reopen(ctx, e)
	}
}

// reopen serves the published ports of a VM of an earlier daemon, if it runs: their process may have
// ended while no daemon ran.
func (s *Service) reopen(ctx context.Context, e *entry) {
	v, r := s.get(e), s.runOf(e)
	if len(v.Publish) == 0 || s.Ports == nil || r == nil {
		return
	}
	err := s.whoPublishes(v.ID, v.Publish, func() error { return s.Ports.Reopen(ctx, v.ID, v.Publish) })
	if !s.closeIfEnded(ctx, e, r) && err != nil {
		s.Logger.Error("cannot serve the published ports of a VM yet; trying on", "vm", v.ID, "error", err)
	}
}

// reopening returns the plan of an earlier daemon's operation that reopens the VM's ports before it
// unlocks the VM.
func (s *Service) reopening(e *entry, plan op.Plan) op.Plan {
	ended := plan.Ended
	plan.Ended = func(o *op.Op) {
		s.reopen(s.ctx, e)
		ended(o)
	}
	return plan
}
