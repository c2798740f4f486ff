package roothelper

import (
	"context"

	"banger/api"
	"banger/internal/roothelper/hostfirewall"
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

var _ Firewall = (*hostfirewall.Firewall)(nil)
