//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
)

const sysctls = "/proc/sys/net"

// setting is a sysctl from the kernel's ip-sysctl.rst. Those of IPv6 do not exist if
// IPv6 is disabled at boot, which is equivalent.
type setting struct{ name, value string }

// spaceSysctls apply to a guest's namespace and to links made in it later. They are set
// explicitly because a new namespace can inherit the host's
// (net.core.devconf_inherit_init_net).
var spaceSysctls = []setting{
	{"ipv4/ip_forward", "1"},
	{"ipv4/conf/all/rp_filter", "1"}, {"ipv4/conf/default/rp_filter", "1"},
	{"ipv4/conf/all/accept_redirects", "0"}, {"ipv4/conf/default/accept_redirects", "0"},
	{"ipv4/conf/all/send_redirects", "0"}, {"ipv4/conf/default/send_redirects", "0"},
	{"ipv4/conf/all/accept_source_route", "0"}, {"ipv4/conf/default/accept_source_route", "0"},
	{"ipv4/conf/all/proxy_arp", "0"}, {"ipv4/conf/default/proxy_arp", "0"},
	{"ipv4/conf/all/arp_ignore", "1"}, // answer ARP only for the link's own addresses
	{"ipv6/conf/all/disable_ipv6", "1"}, {"ipv6/conf/default/disable_ipv6", "1"},
}

// linkSysctls apply to the host's end of a VM's link. The host's own settings can make
// the reverse path filter loose (the larger of "all" and the link's value applies, and
// sysctl.d(5) may set the link's later), but not the table's fib rule. They can also
// enable send_redirects and proxy_arp for all links (either setting is sufficient,
// ip-sysctl.rst), which has no effect: a namespace accepts no redirects, and sends no
// ARP requests, as it knows the host's address permanently.
func linkSysctls(link string) []setting {
	v4, v6 := "ipv4/conf/"+link+"/", "ipv6/conf/"+link+"/"
	return []setting{
		{v4 + "rp_filter", "1"},
		{v4 + "accept_redirects", "0"},
		{v4 + "send_redirects", "0"},
		{v4 + "accept_source_route", "0"},
		{v4 + "proxy_arp", "0"},
		{v4 + "arp_ignore", "1"},
		{v6 + "disable_ipv6", "1"},
	}
}

// setSysctls sets sysctls of the calling thread's network namespace.
func setSysctls(all []setting) error {
	for _, s := range all {
		err := os.WriteFile(filepath.Join(sysctls, s.name), []byte(s.value), 0)
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.name, "ipv6/") {
			continue
		}
		if err != nil {
			return fmt.Errorf("set a network parameter: %w", err)
		}
	}
	return nil
}

const forwarding = sysctls + "/ipv4/ip_forward"

// EnsureForwarding makes the host forward IPv4 packets, which guests' networks need,
// and returns whether it did so before.
func EnsureForwarding() (previous bool, err error) {
	if previous, err = Forwarding(); err != nil || previous {
		return previous, err
	}
	return false, SetForwarding(true)
}

// Forwarding reports whether the host forwards IPv4 packets.
func Forwarding() (bool, error) {
	text, err := os.ReadFile(forwarding)
	if err != nil {
		return false, api.Errorf(api.KindInternal, "cannot read whether the host forwards packets: %w", err)
	}
	return strings.TrimSpace(string(text)) != "0", nil
}

// SetForwarding sets whether the host forwards IPv4 packets: an uninstallation restores
// what EnsureForwarding returned.
func SetForwarding(on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	if err := os.WriteFile(forwarding, []byte(value), 0); err != nil {
		return api.Errorf(api.KindInternal, "cannot set whether the host forwards packets: %w", err)
	}
	return nil
}
