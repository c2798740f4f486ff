package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/network"
	"banger/internal/rootapi"
)

// namesTried is how many running VMs' names are looked up.
const namesTried = 3

var namesCheck = Check{
	Name: "names of VMs", Why: "NAME.vm and NAME.banger are a running VM's address on this host; ssh NAME.banger works without",
	Run: vmNames,
}

// vmNames checks whether this host's programs find VMs by their names.
func vmNames(ctx context.Context, h Host) Finding {
	var names rootapi.NamesAnswer
	if _, err := h.System.Helper.Do(ctx, rootapi.NamesCall{}, &names); err != nil {
		return warn("cannot find out: " + api.AsError(err).Message)
	}
	switch {
	case names.Absent:
		return Finding{Status: Warn, Found: names.Problem + ", so no name resolves",
			Fix: "docs/access.md says how dnsmasq, NetworkManager and others send these questions to " + network.NamesAddress.String()}
	case names.Problem != "":
		return Finding{Status: Warn, Found: names.Problem, Fix: "journalctl -u bangerd-root; resolvectl status " + network.NamesLink}
	case len(names.Taken) > 0:
		return Finding{Status: Warn, Found: "this network has a domain of its own: " + strings.Join(names.Taken, ", "),
			Fix: "use the other of .vm and .banger; resolvectl domain   lists the domains"}
	}
	return h.System.lookUp(ctx, names.Outer)
}

// lookUp looks the names of some running VMs up, as this host's programs do.
func (s *System) lookUp(ctx context.Context, outer netip.Prefix) Finding {
	if s.Lookup == nil || s.VMs == nil {
		return ok("systemd-resolved sends the questions to bangerd")
	}
	vms, err := s.VMs(ctx)
	if err != nil {
		return warn("cannot find out: " + api.AsError(err).Message)
	}
	tried := 0
	for _, v := range vms {
		// The user id does not matter here, but must be one.
		plan, err := network.New(network.Spec{ID: v.ID, Slot: v.Slot, Outer: outer, UID: 1})
		if err != nil || v.State != api.StateRunning || v.PID == 0 || v.Network == api.NetworkNone {
			continue
		}
		for _, zone := range network.Zones() {
			if f := s.compare(ctx, v.Name+"."+zone, plan.Outer.Addr()); f.Status != OK {
				return f
			}
		}
		if tried++; tried == namesTried {
			break
		}
	}
	if tried == 0 {
		return ok("systemd-resolved sends the questions to bangerd")
	}
	return ok(fmt.Sprintf("they resolve (tried: %d)", tried))
}

func (s *System) compare(ctx context.Context, name string, want netip.Addr) Finding {
	got, err := s.Lookup(ctx, name)
	switch {
	case err != nil || len(got) == 0:
		return Finding{Status: Warn, Found: name + " does not resolve, though systemd-resolved sends the questions to bangerd",
			Fix: "if resolvectl query " + name + " finds it, programs ask another resolver: ls -l /etc/resolv.conf; otherwise: journalctl -u bangerd"}
	case !slices.Equal(got, []netip.Addr{want}):
		return Finding{Status: Warn, Found: fmt.Sprintf("%s is %s on this host, and not the VM's %s", name, got[0], want),
			Fix: "getent hosts " + name + "; remove it from /etc/hosts, or: banger vm rename"}
	}
	return ok("")
}
