package roothelper

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"banger/api"
	"banger/internal/network"
	"banger/internal/network/netns"
)

// Firewall is the host's table, which belongs to no VM.
type Firewall interface {
	// Ensure loads the table and keeps it, unless it is kept already.
	Ensure(ctx context.Context) error
	Remove(ctx context.Context) error
	Check(ctx context.Context) []api.Check
	// Close ends the keeping; the table stays.
	Close()
}

// hostFirewall is the host's table, and the forwarding that it relies on.
type hostFirewall struct {
	outer netip.Prefix
	log   *slog.Logger

	mu     sync.Mutex
	keeper *netns.Keeper // nil: not loaded yet
}

// Ensure implements Firewall.
func (f *hostFirewall) Ensure(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeper != nil {
		return nil
	}
	if _, err := netns.EnsureForwarding(); err != nil {
		return err
	}
	// It is kept for as long as this program runs, not for one request.
	keeper, err := netns.KeepTable(context.Background(), f.outer, f.log)
	if err != nil {
		return err
	}
	f.keeper = keeper
	return nil
}

// Remove implements Firewall.
func (f *hostFirewall) Remove(ctx context.Context) error {
	f.Close()
	return netns.RemoveTable(ctx)
}

// Check implements Firewall.
func (f *hostFirewall) Check(ctx context.Context) []api.Check {
	f.mu.Lock()
	table := network.HostTable{Outer: f.outer}
	if f.keeper != nil {
		table = f.keeper.Table()
	}
	f.mu.Unlock()
	return netns.Check(ctx, table)
}

// Close implements Firewall.
func (f *hostFirewall) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeper != nil {
		f.keeper.Close()
		f.keeper = nil
	}
}
