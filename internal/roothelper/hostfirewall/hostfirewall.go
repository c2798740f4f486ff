// Package hostfirewall is the host's firewall table as the root helper keeps it.
package hostfirewall

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/host/network/netns"
)

// Firewall is the host's table, and the forwarding that it relies on.
type Firewall struct {
	Outer netip.Prefix // of VMs' addresses on the host's side
	Log   *slog.Logger

	mu       sync.Mutex
	keeper   *netns.Keeper // nil: the table was not requested yet
	forwards bool          // forwarding was enabled on the host
}

// Ensure implements roothelper.Firewall. The table is watched as long as this program runs, not for one
// request, even if it cannot be loaded at first: guests may already be running.
func (f *Firewall) Ensure(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeper == nil {
		f.keeper = netns.KeepTable(context.Background(), f.Outer, f.Log)
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

// Remove implements roothelper.Firewall.
func (f *Firewall) Remove(ctx context.Context) error {
	f.Close()
	return netns.RemoveTable(ctx)
}

// Check implements roothelper.Firewall.
func (f *Firewall) Check(ctx context.Context) []api.Check {
	table, problem := network.HostTable{}, error(nil)
	f.mu.Lock()
	if f.keeper != nil {
		table, problem = f.keeper.Table()
	}
	f.mu.Unlock()
	table.Outer = f.Outer // even if it was never loaded
	return netns.Check(ctx, table, problem)
}

// Close implements roothelper.Firewall.
func (f *Firewall) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeper != nil {
		f.keeper.Close()
		f.keeper, f.forwards = nil, false
	}
}
