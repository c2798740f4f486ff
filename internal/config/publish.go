package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"banger/api"
)

// MaxPublish is how many ports a table may publish.
const MaxPublish = 100

// parsePublish parses [ADDRESS:]HOSTPORT:GUESTPORT[/udp], one or several.
func parsePublish(text string) ([]api.PublishedPort, error) {
	var ports []api.PublishedPort
	for _, item := range list(text) {
		p, ok := publishedPort(item)
		if !ok {
			return nil, fmt.Errorf("%.80q is not a port such as 8080:80, 0.0.0.0:8080:80, [::1]:8080:80 or 5353:53/udp", item)
		}
		ports = append(ports, p)
	}
	if len(ports) > MaxPublish {
		return nil, fmt.Errorf("%d ports: at most %d are possible", len(ports), MaxPublish)
	}
	return ports, nil
}

func publishedPort(text string) (api.PublishedPort, bool) {
	p := api.PublishedPort{Protocol: "tcp"}
	text, protocol, given := strings.Cut(text, "/")
	if given {
		p.Protocol = protocol
	}
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 || p.Protocol != "tcp" && p.Protocol != "udp" {
		return p, false
	}
	near, guest := text[:colon], text[colon+1:]
	switch address, port, found := strings.Cut(near, ":"); {
	case !found:
		near = "127.0.0.1:" + near
	case address == "localhost":
		near = "127.0.0.1:" + port
	}
	at, err := netip.ParseAddrPort(near)
	to, e := strconv.ParseUint(guest, 10, 16)
	p.Address, p.HostPort, p.GuestPort = at.Addr().String(), int(at.Port()), int(to)
	return p, err == nil && e == nil && to > 0 && at.Addr().Zone() == ""
}

// formatPublish is the text that parsePublish reads.
func formatPublish(ports []api.PublishedPort) string {
	var items []string
	for _, p := range ports {
		items = append(items, p.String())
	}
	return strings.Join(items, listSeparator)
}
