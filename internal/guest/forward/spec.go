package forward

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"banger/api"
	"banger/internal/guest/stdio"
)

// Spec is a forward as users write it: an endpoint to listen on and a target.
type Spec struct {
	Listen, To stdio.Endpoint
}

// String returns the spec in the form that Parse reads.
func (s Spec) String() string {
	text := s.Listen.Address + ":" + strings.TrimPrefix(s.To.Address, ":")
	if stdio.UDP == s.Listen.Network {
		text += "/udp"
	}
	return text
}

const (
	loopback = "127.0.0.1"
	maxPort  = 1<<16 - 1
	maxName  = 253 // of a host (RFC 1035, 2.3.4, as text)
)

// Parse reads [ADDRESS:]PORT:[HOST:]PORT, where each half may be the path of a
// Unix socket instead. A suffix /udp makes it datagrams.
func Parse(text string) (Spec, error) {
	s, err := parse(text)
	if err != nil {
		return Spec{}, api.Errorf(api.KindInvalid, "cannot read the forward %.100q: %w", text, err).
			WithHint("forwards look like 8080:80, 127.0.0.1:5353:53/udp, 8080:db.local:5432 or ./docker.sock:/run/docker.sock")
	}
	return s, nil
}

func parse(text string) (Spec, error) {
	fields, network, err := split(text)
	if err != nil {
		return Spec{}, err
	}
	near, rest, err := takeListen(fields, network)
	if err != nil {
		return Spec{}, err
	}
	to, err := takeTarget(rest, network)
	if err != nil {
		return Spec{}, err
	}
	if network == stdio.UDP && (near.Network == stdio.Unix || to.Network == stdio.Unix) {
		return Spec{}, errors.New("a Unix socket has no /udp")
	}
	return Spec{near, to}, nil
}

// split removes the protocol and splits the rest at colons outside of brackets.
func split(text string) (fields []string, network string, err error) {
	if i := strings.IndexFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }); i >= 0 {
		return nil, "", errors.New("it has characters that cannot be printed")
	}
	fields, err = cut(text)
	if err != nil {
		return nil, "", err
	}
	last := &fields[len(fields)-1]
	network = stdio.TCP
	if port, protocol, found := strings.Cut(*last, "/"); found && !isPath(*last) {
		if protocol != stdio.TCP && protocol != stdio.UDP {
			return nil, "", fmt.Errorf("%q is not tcp or udp", protocol)
		}
		*last, network = port, protocol
	}
	return fields, network, nil
}

// cut splits at colons; what is in brackets, an IPv6 address, stays whole and
// loses them.
func cut(text string) ([]string, error) {
	var fields []string
	for {
		if inner, bracketed := strings.CutPrefix(text, "["); bracketed {
			address, after, closed := strings.Cut(inner, "]")
			if a, err := netip.ParseAddr(address); !closed || err != nil || !a.Is6() {
				return nil, errors.New("[…] is not an IPv6 address")
			}
			if after, found := strings.CutPrefix(after, ":"); found {
				fields, text = append(fields, address), after
				continue
			}
			return nil, errors.New("a port is missing behind […]")
		}
		field, after, more := strings.Cut(text, ":")
		fields = append(fields, field)
		if !more {
			return fields, nil
		}
		text = after
	}
}

func isPath(field string) bool { return strings.HasPrefix(field, "/") || strings.HasPrefix(field, ".") }

var errOneHalf = errors.New("write LISTEN:TARGET")

// takeListen reads the first half and returns the fields of the second.
func takeListen(fields []string, network string) (stdio.Endpoint, []string, error) {
	first := fields[0]
	if len(fields) < 2 {
		return stdio.Endpoint{}, nil, errOneHalf
	}
	if isPath(first) {
		return stdio.Endpoint{Network: stdio.Unix, Address: first}, fields[1:], nil
	}
	if isNumber(first) {
		port, err := parsePort(first, 0)
		return endpoint(network, loopback, port), fields[1:], err
	}
	if first == "localhost" {
		first = loopback
	}
	address, err := netip.ParseAddr(first)
	if err != nil || address.Zone() != "" {
		return stdio.Endpoint{}, nil, fmt.Errorf("%.60q is neither a port nor an IP address", first)
	}
	if len(fields) < 3 {
		return stdio.Endpoint{}, nil, errOneHalf
	}
	port, err := parsePort(fields[1], 0)
	return endpoint(network, address.String(), port), fields[2:], err
}

// takeTarget reads the second half.
func takeTarget(fields []string, network string) (stdio.Endpoint, error) {
	switch {
	case len(fields) == 1 && isPath(fields[0]):
		return stdio.Endpoint{Network: stdio.Unix, Address: fields[0]}, nil
	case len(fields) == 1:
		port, err := parsePort(fields[0], 1)
		return endpoint(network, "", port), err
	case len(fields) == 2 && fields[0] != "":
		if err := checkHost(fields[0]); err != nil {
			return stdio.Endpoint{}, err
		}
		port, err := parsePort(fields[1], 1)
		return endpoint(network, fields[0], port), err
	}
	return stdio.Endpoint{}, errors.New("there are too many or empty parts")
}

func checkHost(host string) error {
	for _, r := range host {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._:%", r) {
			return fmt.Errorf("%.60q is not a host name", host)
		}
	}
	if len(host) > maxName {
		return fmt.Errorf("the name of a host has %d characters", len(host))
	}
	return nil
}

func endpoint(network, host string, port int) stdio.Endpoint {
	return stdio.Endpoint{Network: network, Address: net.JoinHostPort(host, strconv.Itoa(port))}
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func parsePort(s string, least int) (int, error) {
	port, err := strconv.Atoi(s)
	if !isNumber(s) || err != nil || port < least || port > maxPort {
		return 0, fmt.Errorf("%.60q is not a port from %d to %d", s, least, maxPort)
	}
	return port, nil
}

// ParsePublished reads [ADDRESS:]PORT:PORT[/udp], a port of the host that is forwarded to one of the
// guest.
func ParsePublished(text string) (api.PublishedPort, error) {
	p, err := parsePublished(text)
	if err != nil {
		return p, api.Errorf(api.KindInvalid, "cannot publish %.100q: %w", text, err).
			WithHint("published ports look like 8080:80, 0.0.0.0:8080:80, [::1]:8080:80 or 5353:53/udp; host port 0 means a free one")
	}
	return p, nil
}

func parsePublished(text string) (api.PublishedPort, error) {
	s, err := parse(text)
	if err != nil {
		return api.PublishedPort{}, err
	}
	if s.Listen.Network == stdio.Unix || !strings.HasPrefix(s.To.Address, ":") {
		return api.PublishedPort{}, errors.New("only ports can be published; `banger vm forward` forwards the rest")
	}
	near, err := netip.ParseAddrPort(s.Listen.Address)
	if err != nil {
		return api.PublishedPort{}, err
	}
	port, err := parsePort(s.To.Address[1:], 1)
	return api.PublishedPort{
		Address: near.Addr().String(), HostPort: int(near.Port()), GuestPort: port, Protocol: s.Listen.Network,
	}, err
}

// Published returns a published port as a Spec, or an error that says what is wrong with it.
func Published(p api.PublishedPort) (Spec, error) {
	address, err := netip.ParseAddr(p.Address)
	switch {
	case err != nil || address.Zone() != "":
		return Spec{}, api.Errorf(api.KindInvalid, "cannot publish a port on %.60q: it is not an IP address", p.Address)
	case p.HostPort < 0 || p.HostPort > maxPort || p.GuestPort < 1 || p.GuestPort > maxPort:
		return Spec{}, api.Errorf(api.KindInvalid, "cannot publish %d:%d: ports go up to %d", p.HostPort, p.GuestPort, maxPort)
	case p.Protocol != stdio.TCP && p.Protocol != stdio.UDP:
		return Spec{}, api.Errorf(api.KindInvalid, "cannot publish a port for %.60q: it is neither tcp nor udp", p.Protocol)
	}
	return Spec{endpoint(p.Protocol, address.String(), p.HostPort), endpoint(p.Protocol, "", p.GuestPort)}, nil
}

// Open reports whether others than this host can reach where e listens.
func Open(e stdio.Endpoint) bool {
	if e.Network == stdio.Unix {
		return false
	}
	at, err := netip.ParseAddrPort(e.Address)
	return err != nil || !at.Addr().Unmap().IsLoopback()
}
