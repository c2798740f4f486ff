package roothelper

import (
	"context"
	"net/netip"

	"banger/api"
)

func upstream() netip.Addr { return netip.Addr{} }

// Check implements Firewall.
func (f *hostFirewall) Check(ctx context.Context) []api.Check { return nil }
