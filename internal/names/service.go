package names

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/rootapi"
)

// Helper is bangerd-root, as rootapi.Client reaches it.
type Helper interface {
	Do(ctx context.Context, call rootapi.Call, answer any, files ...*os.File) ([]*os.File, error)
}

// Service answers for the daemon's VMs.
type Service struct {
	Helper Helper
	Find   func(name string) (api.VM, error) // among the daemon's VMs
	Log    *slog.Logger

	retry time.Duration // replaces retryPause in tests
}

// retryPause is the pause after the helper could not hand out the sockets (something else may listen
// there, or the helper is of an older version until an update ends), and between two questions
// whether they are still those of the link.
const retryPause = 30 * time.Second

// Run gets the sockets from the helper and answers until ctx ends. The sockets stay usable when the
// helper ends: they belong to this process, and the link stays.
func (s *Service) Run(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		got, err := s.sockets(ctx)
		if err == nil {
			if said != "" {
				said = ""
				s.Log.Info("questions about the names of VMs are answered")
			}
			s.serve(ctx, got)
			continue
		}
		if err.Error() != said && ctx.Err() == nil {
			said = err.Error()
			s.Log.Warn("cannot answer questions about the names of VMs: trying again", "error", err)
		}
		s.pause(ctx)
	}
}

func (s *Service) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(cmp.Or(s.retry, retryPause)):
	}
}

// sockets are what the helper handed out.
type sockets struct {
	rootapi.NamesAnswer
	udp net.PacketConn
	tcp net.Listener
}

// serve answers until ctx ends, or somebody removed the link and the helper made another.
func (s *Service) serve(ctx context.Context, got sockets) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for ctx.Err() == nil {
			s.pause(ctx)
			var now rootapi.NamesAnswer
			if _, err := s.Helper.Do(ctx, rootapi.NamesCall{}, &now); err == nil && now.Link != got.Link {
				return
			}
		}
	})
	serve(ctx, got.udp, got.tcp, s.lookup(got.Outer))
	cancel()
	wg.Wait()
}

func (s *Service) sockets(ctx context.Context) (got sockets, err error) {
	files, err := s.Helper.Do(ctx, rootapi.NamesCall{Sockets: true}, &got.NamesAnswer)
	if err != nil {
		return got, err
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(files) != 2 {
		return got, api.Errorf(api.KindInternal, "the root helper sent %d sockets instead of 2", len(files))
	}
	if got.udp, err = net.FilePacketConn(files[0]); err != nil {
		return got, err
	}
	if got.tcp, err = net.FileListener(files[1]); err != nil {
		return got, errors.Join(err, got.udp.Close())
	}
	return got, nil
}

// lookup finds a VM in the daemon's records.
func (s *Service) lookup(outer netip.Prefix) Lookup {
	return func(name string) (netip.Addr, bool) {
		v, err := s.Find(name)
		if err != nil || v.Name != name { // found by its id
			return netip.Addr{}, false
		}
		return address(v, outer)
	}
}

// address returns the address of a VM, if it runs and has one.
func address(v api.VM, outer netip.Prefix) (netip.Addr, bool) {
	if v.State != api.StateRunning && v.State != api.StatePaused || v.PID <= 0 || v.Network == api.NetworkNone {
		return netip.Addr{}, false
	}
	// The user id does not matter here, but must be one.
	plan, err := network.New(network.Spec{ID: v.ID, Slot: v.Slot, Outer: outer, UID: 1})
	return plan.Outer.Addr(), err == nil
}
