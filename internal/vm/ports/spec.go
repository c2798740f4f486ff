package ports

import (
	"net/netip"
	"slices"

	"banger/api"
	"banger/internal/guest/forward"
)

// maxPublished is how many ports a VM may publish: each costs a socket, and all are
// in the VM's record.
const maxPublished = 100

// Check refuses ports that are invalid on any host.
func Check(ports []api.PublishedPort) ([]api.PublishedPort, error) {
	if len(ports) > maxPublished {
		return nil, api.Errorf(api.KindInvalid, "cannot publish %d ports: the limit is %d", len(ports), maxPublished)
	}
	var all []api.PublishedPort
	for _, p := range ports {
		s, err := forward.Published(p)
		if err != nil {
			return nil, err
		}
		p.Address = netip.MustParseAddrPort(s.Listen.Address).Addr().String()
		for _, other := range all {
			if clash(p, other) {
				return nil, api.Errorf(api.KindInvalid, "cannot publish both %s and %s: they listen on the same port", other, p).
					WithHint("choose another host port, or 0 for a free one")
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// samePort reports whether two ports are the same; one may be written without its address.
func samePort(a, b api.PublishedPort) bool {
	for _, p := range []*api.PublishedPort{&a, &b} {
		if s, err := forward.Published(*p); err == nil {
			p.Address = netip.MustParseAddrPort(s.Listen.Address).Addr().String()
		}
	}
	return a == b
}

// clash reports whether two ports cannot be listened on at once.
func clash(a, b api.PublishedPort) bool {
	x, y := netip.MustParseAddr(a.Address).Unmap(), netip.MustParseAddr(b.Address).Unmap()
	return a.Protocol == b.Protocol && a.HostPort == b.HostPort && a.HostPort != 0 &&
		x.Is4() == y.Is4() && (x == y || x.IsUnspecified() || y.IsUnspecified())
}

// changed returns what is published after a change.
func changed(v api.VM, req api.PublishVM) ([]api.PublishedPort, error) {
	ports := slices.Clone(v.Publish)
	for _, p := range req.Remove {
		at := slices.Index(ports, p)
		if at < 0 {
			return nil, api.Errorf(api.KindNotFound, "VM %s does not publish %s", v.Name, p).WithHint("banger vm ports %s", v.Name)
		}
		ports = slices.Delete(ports, at, at+1)
	}
	for _, p := range req.Add {
		// Ports that are already published stay so. Host port 0 is another free one each time.
		if p.HostPort == 0 || !slices.ContainsFunc(ports, func(other api.PublishedPort) bool { return samePort(p, other) }) {
			ports = append(ports, p)
		}
	}
	return Check(ports)
}
