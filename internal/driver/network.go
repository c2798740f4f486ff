package driver

import (
	"net/netip"
	"regexp"
	"strings"
)

// Limits of the C library's resolver (resolv.conf(5)).
const (
	maxSearch      = 6   // domains
	maxSearchBytes = 256 // of all of them
)

var domain = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$`)

// SearchDomains returns this host's search domains, separated by commas: the host's resolver
// looks up a guest's names, which should mean the same. read is os.ReadFile, or a test's.
func SearchDomains(read func(path string) ([]byte, error)) string {
	text, err := read("/etc/resolv.conf")
	if err != nil {
		return ""
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) > 0 && (words[0] == "search" || words[0] == "domain") {
			found = words[1:] // the last line applies
		}
	}
	all := ""
	for i, d := range found {
		d = strings.TrimSuffix(d, ".")
		if i < maxSearch && domain.MatchString(d) && len(all)+len(d) < maxSearchBytes {
			all += "," + d
		}
	}
	return strings.TrimPrefix(all, ",")
}

// ResolversWithoutIPv4 reports whether this host has name servers, but none with an IPv4
// address: QEMU's user network, which has only IPv4, cannot reach those. read is os.ReadFile, or
// a test's.
func ResolversWithoutIPv4(read func(path string) ([]byte, error)) bool {
	text, err := read("/etc/resolv.conf")
	if err != nil {
		return false
	}
	some := false
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(words[1])
		if err == nil && a.Unmap().Is4() {
			return false
		}
		some = some || err == nil
	}
	return some // resolv.conf(5): none is one on this host, by IPv4
}
