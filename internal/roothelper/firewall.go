package roothelper

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/host/network/netns"
)

// Firewall is the host's firewall table, which is shared by all VMs.
type Firewall interface {
	// Ensure returns once the table is loaded, and restores it from then on if it is
	// changed. If the table cannot be loaded, Ensure returns the reason and retries in the
	// background.
	Ensure(ctx context.Context) error
	Remove(ctx context.Context) error
	Check(ctx context.Context) []api.Check
	// Close stops watching the table; the table stays.
	Close()
}

// hostFirewall is the host's table, and the forwarding that it relies on.
type hostFirewall struct {
	outer netip.Prefix
	log   *slog.Logger

	mu       sync.Mutex
	keeper   *netns.Keeper // nil: the table was not requested yet
	forwards bool          // forwarding was enabled on the host
}

// Ensure implements Firewall. The table is watched as long as this program runs, not for one
// request, even if it cannot be loaded at first: guests may already be running.
func (f *hostFirewall) Ensure(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeper == nil {
		f.keeper = netns.KeepTable(context.Background(), f.outer, f.log)
	}
	if err := f.keeper.Ensure(ctx); err != nil {
		return err
	}
	if f.forwards {
		return nil
	}
	_, err := netns.EnsureForwarding()
	f.forwards = err == nil
	return err
}

// Remove implements Firewall.
func (f *hostFirewall) Remove(ctx context.Context) error {
	f.Close()
	return netns.RemoveTable(ctx)
}

// Check implements Firewall.
func (f *hostFirewall) Check(ctx context.Context) []api.Check {
	table, problem := network.HostTable{}, error(nil)
	f.mu.Lock()
	if f.keeper != nil {
		table, problem = f.keeper.Table()
	}
	f.mu.Unlock()
	table.Outer = f.outer // even if it was never loaded
	return netns.Check(ctx, table, problem)
}

// Close implements Firewall.
func (f *hostFirewall) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeper != nil {
		f.keeper.Close()
		f.keeper, f.forwards = nil, false
	}
}
