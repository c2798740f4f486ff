// Package guestnet says what network a guest sees: the same in user and in system mode, and each guest
// has a separate one.
package guestnet

import "net/netip"

// MAC is the hardware address of every guest: the first that QEMU gives to one.
const MAC = "52:54:00:12:34:56"

// The addresses are the defaults of QEMU's user network (qemu(1), -netdev user).
var (
	Address = netip.MustParsePrefix("10.0.2.15/24") // the guest's own
	Gateway = netip.MustParseAddr("10.0.2.2")
	DNS     = netip.MustParseAddr("10.0.2.3") // the name server
)
