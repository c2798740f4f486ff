package driver

import "net/netip"

// UserNetwork is the network every guest has in user mode: its own address,
// the gateway and the name server. They are the defaults of QEMU's user
// network (qemu(1), -netdev user); every guest is alone in its own.
func UserNetwork() (address netip.Prefix, gateway, dns netip.Addr) {
	return netip.MustParsePrefix("10.0.2.15/24"), netip.MustParseAddr("10.0.2.2"), netip.MustParseAddr("10.0.2.3")
}
