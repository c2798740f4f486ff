// Package ports serves the published ports of VMs while they run or are suspended: a connection to a port
// of a suspended VM wakes it.
package ports

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// Server serves the published ports of VMs, in processes that outlive the daemon as VMs do.
// internal/publish implements it.
type Server interface {
	// Check reports whether ports can be listened on now.
	Check(ctx context.Context, ports []api.PublishedPort) error
	// Open serves exactly these ports of the VM, and returns them with the numbers that were
	// chosen for 0.
	Open(ctx context.Context, id string, ports []api.PublishedPort) ([]api.PublishedPort, error)
	Close(ctx context.Context, id string)
	// Recover finds the processes of an earlier daemon, and ends those of VMs that have no ports
	// to serve according to published.
	Recover(ctx context.Context, published func(id string) []api.PublishedPort) (ended []string, err error)
	// Reopen is Open for a VM whose ports an earlier daemon served. It retries until it succeeds, or the daemon
	// ends, or Open or Close is called for the VM.
	Reopen(ctx context.Context, id string, ports []api.PublishedPort) error
}

// Ports are the published ports of all VMs.
type Ports struct {
	Server Server // nil: this daemon cannot publish ports
	table  *records.Table
	logger *slog.Logger
}

// New returns the ports of the VMs in table.
func New(server Server, table *records.Table, logger *slog.Logger) *Ports {
	return &Ports{Server: server, table: table, logger: logger}
}

// CheckFree reports whether the ports of a new VM can be listened on now.
func (s *Ports) CheckFree(ctx context.Context, ports []api.PublishedPort) error {
	if s.Server == nil || len(ports) == 0 {
		return nil
	}
	return s.whoPublishes("", ports, func() error { return s.Server.Check(ctx, ports) })
}

// Steps serve the VM's published ports before it boots, so that a used port is noticed early.
// They end with its VMM, or by the step's undo, unless the VM is suspended then.
func (s *Ports) Steps(e *records.Entry) []op.Step {
	v := e.Record()
	if len(v.Publish) == 0 {
		return nil
	}
	return []op.Step{{
		Name: "ports",
		Do:   func(ctx context.Context, _ api.Report) error { return s.Serve(ctx, e) },
		Undo: func(ctx context.Context) error {
			if e.Run() == nil {
				s.Ended(ctx, e)
			}
			return nil
		},
	}}
}

// Serve serves the VM's published ports, if it has any, and records those that
// were chosen.
func (s *Ports) Serve(ctx context.Context, e *records.Entry) error {
	v := e.Record()
	if len(v.Publish) == 0 {
		return nil
	}
	chosen, err := s.open(ctx, v, v.Publish)
	if err != nil || slices.Equal(chosen, v.Publish) {
		return err
	}
	return e.Update(ctx, func(v *api.VM) { v.Publish = chosen })
}

// served reports whether the ports of a VM are to be served.
func served(at records.Snapshot) bool { return at.Run != nil || at.VM.State == api.StateSuspended }

// open serves exactly these ports. A port that another VM has is in use even while the process
// that serves it is being replaced.
func (s *Ports) open(ctx context.Context, v api.VM, ports []api.PublishedPort) ([]api.PublishedPort, error) {
	if s.Server == nil {
		return nil, api.Errorf(api.KindUnsupported, "this daemon cannot publish ports")
	}
	if err := s.taken(v.ID, ports, false); err != nil {
		return nil, err
	}
	var chosen []api.PublishedPort
	err := s.whoPublishes(v.ID, ports, func() (err error) {
		chosen, err = s.Server.Open(ctx, v.ID, ports)
		return err
	})
	return chosen, err
}

// Ended stops serving the published ports of a VM whose VMM has ended, unless it is suspended.
func (s *Ports) Ended(ctx context.Context, e *records.Entry) {
	if e.Record().State != api.StateSuspended {
		s.Close(ctx, e.ID())
	}
}

// Close stops serving the published ports of a VM.
func (s *Ports) Close(ctx context.Context, id string) {
	if s.Server != nil {
		s.Server.Close(ctx, id)
	}
}

// whoPublishes has ports taken by take, and names the VM that has one which is taken, or had it
// when take was called: it may have let go of it since.
func (s *Ports) whoPublishes(id string, ports []api.PublishedPort, take func() error) error {
	had := s.taken(id, ports, true)
	err := take()
	if api.KindOf(err) == api.KindConflict {
		return cmp.Or(s.taken(id, ports, true), had, err)
	}
	return err
}

// taken refuses ports that are served for another VM or, with working, that one publishes with an
// operation in progress: its ports may be served before it runs, and after.
func (s *Ports) taken(id string, ports []api.PublishedPort, working bool) error {
	for _, at := range s.table.Snapshots() {
		if at.VM.ID == id || !served(at) && !(working && at.Busy != "") {
			continue
		}
		for _, p := range ports {
			for _, other := range at.VM.Publish {
				if clash(p, other) {
					return api.Errorf(api.KindConflict, "cannot publish %s: VM %s publishes %s", p, at.VM.Name, other).
						WithHint("choose another host port, or 0 for a free one")
				}
			}
		}
	}
	return nil
}

// Publish changes which ports of a VM are published: at once if it runs or is suspended, otherwise from
// its next start on.
func (s *Ports) Publish(ctx context.Context, ref string, req api.PublishVM) (api.VM, error) {
	e, err := s.table.Claim(ref, "vm.publish", nil)
	if err != nil {
		return api.VM{}, err
	}
	defer e.Release()
	ports, err := changed(e.Record(), req)
	if err != nil {
		return api.VM{}, err
	}
	var told api.VM
	err = s.Replace(ctx, e, ports, func(ports []api.PublishedPort) (err error) {
		told, err = e.Answer(ctx, func(v *api.VM) { v.Publish = ports })
		return err
	})
	return told, err
}

// Replace serves exactly these ports of a VM that is claimed, if its ports are served, and has record record them
// with the numbers that were chosen. If that fails, what was served before is served again.
func (s *Ports) Replace(ctx context.Context, e *records.Entry, ports []api.PublishedPort, record func(ports []api.PublishedPort) error) error {
	before := e.Record()
	ports, err := s.openIfServed(ctx, e, ports)
	if err != nil {
		return err
	}
	if err = record(ports); err != nil {
		ports = before.Publish
		_, opened := s.openIfServed(context.WithoutCancel(ctx), e, ports)
		err = errors.Join(err, opened)
	}
	if len(ports) == 0 {
		s.Close(ctx, e.ID())
	}
	return err
}

// openIfServed is open for a VM that runs or is suspended; those of another are served from its next
// start on.
func (s *Ports) openIfServed(ctx context.Context, e *records.Entry, ports []api.PublishedPort) ([]api.PublishedPort, error) {
	if !served(e.Snapshot()) {
		return ports, nil
	}
	chosen, err := s.open(ctx, e.Record(), ports)
	if s.closeIfEnded(ctx, e) {
		return ports, nil
	}
	return chosen, err
}

// closeIfEnded closes the ports of a VM that has ended, and says whether it has: its end may
// have closed them before they were opened.
func (s *Ports) closeIfEnded(ctx context.Context, e *records.Entry) bool {
	at := e.Snapshot()
	if at.Run != nil {
		select {
		case <-at.Run.Machine().Done():
		default:
			return false
		}
	}
	if at.VM.State == api.StateSuspended {
		return false
	}
	s.Close(context.WithoutCancel(ctx), e.ID())
	return true
}

// Recover finds the processes that serve the ports of VMs that run, are suspended or have an operation to resume,
// and ends the other ones of an earlier daemon.
func (s *Ports) Recover(ctx context.Context, left []op.Unfinished) (ended []string) {
	if s.Server == nil {
		return nil
	}
	ended, err := s.Server.Recover(ctx, func(id string) []api.PublishedPort {
		e := s.table.ByID(id)
		if e == nil {
			return nil
		}
		at := e.Snapshot()
		started := slices.ContainsFunc(left, func(u op.Unfinished) bool { return u.Target == id })
		if !served(at) && at.Busy == "" && !started {
			return nil
		}
		return at.VM.Publish
	})
	if err != nil {
		s.logger.Error("cannot find the forwarders of published ports", "error", err)
	}
	return ended
}

// ReopenAll serves the ports of running and suspended VMs without an operation. Those of the others follow when
// their operations have ended.
func (s *Ports) ReopenAll(ctx context.Context) {
	for _, at := range s.table.Snapshots() {
		if served(at) && at.Busy == "" {
			s.Reopen(ctx, at.Entry)
		}
	}
}

// Reopen serves the published ports of a VM of an earlier daemon, if it runs or is suspended: their process may
// have ended while no daemon ran.
func (s *Ports) Reopen(ctx context.Context, e *records.Entry) {
	at := e.Snapshot()
	v := at.VM
	if len(v.Publish) == 0 || s.Server == nil || !served(at) {
		return
	}
	err := s.whoPublishes(v.ID, v.Publish, func() error { return s.Server.Reopen(ctx, v.ID, v.Publish) })
	if !s.closeIfEnded(ctx, e) && err != nil {
		s.logger.Error("cannot serve the published ports of a VM yet; trying on", "vm", v.ID, "error", err)
	}
}
