//go:build linux

package resolved

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"banger/internal/host/network"
)

// The interface of systemd-resolved, org.freedesktop.resolve1(5).
const (
	service   = "org.freedesktop.resolve1"
	root      = dbus.ObjectPath("/org/freedesktop/resolve1")
	manager   = service + ".Manager"
	propsFace = "org.freedesktop.DBus.Properties"
	systemBus = "unix:path=/run/dbus/system_bus_socket"
)

// errAbsent means that systemd-resolved does not run.
var errAbsent = errors.New("systemd-resolved does not run")

// client is a connection to the message bus, for one check.
type client struct{ conn *dbus.Conn }

func connect(ctx context.Context, address string) (*client, error) {
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("reach the message bus: %w", err)
	}
	return &client{conn}, nil
}

func (c *client) close() { c.conn.Close() }

// call calls a method of the manager. It does not start systemd-resolved: on a host that has it
// installed and does not use it, nothing changes.
func (c *client) call(ctx context.Context, method string, args ...any) error {
	err := c.conn.Object(service, root).CallWithContext(ctx, manager+"."+method, dbus.FlagNoAutoStart, args...).Err
	if err != nil {
		return explain(method, err)
	}
	return nil
}

// domain is an entry of the manager's property Domains.
type domain struct {
	Ifindex   int32
	Name      string
	RouteOnly bool
}

// domains returns the domains of all links.
func (c *client) domains(ctx context.Context) ([]domain, error) {
	var value dbus.Variant
	err := c.conn.Object(service, root).CallWithContext(ctx, propsFace+".Get", dbus.FlagNoAutoStart, manager, "Domains").Store(&value)
	if err != nil {
		return nil, explain("Domains", err)
	}
	var all []domain
	if err := dbus.Store([]any{value.Value()}, &all); err != nil {
		return nil, fmt.Errorf("understand systemd-resolved's domains: %w", err)
	}
	return all, nil
}

func explain(method string, err error) error {
	var e dbus.Error
	if errors.As(err, &e) {
		switch e.Name {
		case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner":
			return errAbsent
		case service + ".LinkBusy":
			return fmt.Errorf("set %s of systemd-resolved: %s belongs to systemd-networkd (a .network file that matches every link?)", method, network.NamesLink)
		}
	}
	return fmt.Errorf("ask systemd-resolved for %s: %w", method, err)
}

// server is an entry of SetLinkDNS: address family and address.
type server struct {
	Family  int32
	Address []byte
}

// route is an entry of SetLinkDomains.
type route struct {
	Name      string
	RouteOnly bool
}

// setLink sets what systemd-resolved does with a link: it gets the questions for the zones, and no
// others. The zones are in no public one, so that nothing signs them.
func (c *client) setLink(ctx context.Context, index int) error {
	i := int32(index)
	var routes []route
	for _, zone := range network.Zones() {
		routes = append(routes, route{zone, true})
	}
	for _, set := range []struct {
		method string
		value  any
	}{
		{"SetLinkDNSSEC", "no"},
		{"SetLinkDNSOverTLS", "no"},
		{"SetLinkLLMNR", "no"},
		{"SetLinkMulticastDNS", "no"},
		{"SetLinkDefaultRoute", false},
		{"SetLinkDNS", []server{{unix.AF_INET, network.NamesAddress.AsSlice()}}},
		{"SetLinkDomains", routes}, // last: it says that all is set
	} {
		if err := c.call(ctx, set.method, i, set.value); err != nil {
			return err
		}
	}
	return nil
}

// revertLink takes back what setLink did.
func (c *client) revertLink(ctx context.Context, index int) error {
	return c.call(ctx, "RevertLink", int32(index))
}

// ours reports whether the zones are routed to a link, and which other links have one of them.
func ours(all []domain, index int, nameOf func(int) string) (complete bool, taken []string) {
	routed := 0
	for _, zone := range network.Zones() {
		for _, d := range all {
			switch {
			case !strings.EqualFold(strings.TrimSuffix(d.Name, "."), zone):
			case d.Ifindex == int32(index):
				if d.RouteOnly {
					routed++
				}
			case d.Ifindex == 0:
				taken = append(taken, zone+" of all links (resolved.conf)")
			default:
				taken = append(taken, zone+" of "+nameOf(int(d.Ifindex)))
			}
		}
	}
	return routed == len(network.Zones()), taken
}
