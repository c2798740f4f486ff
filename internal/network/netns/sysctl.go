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

// setting is a sysctl of the kernel's ip-sysctl.rst. Those of IPv6 are absent
// where IPv6 is turned off at boot, which is as good.
type setting struct{ name, value string }

// spaceSysctls hold for a guest's namespace and for links made in it later. They
// are written out because a new namespace can inherit the host's
// (net.core.devconf_inherit_init_net).
var spaceSysctls = []setting{
	{"ipv4/ip_forward", "1"},
	{"ipv4/conf/all/rp_filter", "1"}, {"ipv4/conf/default/rp_filter", "1"},
	{"ipv4/conf/all/accept_redirects", "0"}, {"ipv4/conf/default/accept_redirects", "0"},
	{"ipv4/conf/all/send_redirects", "0"}, {"ipv4/conf/default/send_redirects", "0"},
	{"ipv4/conf/all/accept_source_route", "0"}, {"ipv4/conf/default/accept_source_route", "0"},
	{"ipv4/conf/all/proxy_arp", "0"}, {"ipv4/conf/default/proxy_arp", "0"},
	{"ipv4/conf/all/arp_ignore", "1"}, // answer only for the link's own addresses
	{"ipv6/conf/all/disable_ipv6", "1"}, {"ipv6/conf/default/disable_ipv6", "1"},
}

// linkSysctls hold for the host's end of a VM's link. The host's own setting can
// make the filter loose (the larger of "all" and the link's counts, and
// sysctl.d(5) may set the link's later): the table's fib rule cannot be. It can also
// turn send_redirects and proxy_arp on for all links (either setting counts,
// ip-sysctl.rst), which changes nothing: a namespace accepts no redirect, and asks for
// no address, as it knows the host's for good.
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

// setSysctls writes sysctls of the calling thread's network namespace.
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

// EnsureForwarding makes the host pass on IPv4 packets, without which guests
// reach nothing, and returns whether it did so before.
func EnsureForwarding() (previous bool, err error) {
	if previous, err = Forwarding(); err != nil || previous {
		return previous, err
	}
	return false, SetForwarding(true)
}

// Forwarding tells whether the host passes on IPv4 packets.
func Forwarding() (bool, error) {
	text, err := os.ReadFile(forwarding)
	if err != nil {
		return false, api.Errorf(api.KindInternal, "cannot read whether the host forwards packets: %w", err)
	}
	return strings.TrimSpace(string(text)) != "0", nil
}

// SetForwarding sets whether the host passes on IPv4 packets: what uninstalling
// does with what EnsureForwarding returned.
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
