package doctor

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/rootapi"
)

func TestNamesOfVMs(t *testing.T) {
	outer := netip.MustParsePrefix("10.213.0.0/16")
	address := netip.MustParseAddr("10.213.0.7")
	running := api.VM{ID: "0123456789ab", Name: "dev", Slot: 3, State: api.StateRunning, PID: 7}
	resolves := func(all ...netip.Addr) func(context.Context, string) ([]netip.Addr, error) {
		return func(_ context.Context, name string) ([]netip.Addr, error) {
			if name != "dev.vm" && name != "dev.banger" {
				t.Errorf("asked for %s", name)
			}
			return all, nil
		}
	}
	for _, test := range []struct {
		what               string
		answer             rootapi.NamesAnswer
		err                error
		vms                []api.VM
		lookup             func(context.Context, string) ([]netip.Addr, error)
		status, found, fix string
	}{
		{what: "well", vms: []api.VM{running}, lookup: resolves(address), status: OK, found: "they resolve (tried: 1)"},
		{what: "without a daemon", status: OK, found: "sends the questions to bangerd"},
		{what: "nothing to try", vms: []api.VM{{Name: "stopped"}, {ID: running.ID, Name: "quiet", Slot: 4, State: api.StateRunning, PID: 8, Network: api.NetworkNone}},
			lookup: resolves(), status: OK, found: "sends the questions to bangerd"},
		{what: "an older helper", err: errors.New("unknown verb"), status: Warn, found: "unknown verb"},
		{what: "absent", answer: rootapi.NamesAnswer{Absent: true, Problem: "systemd-resolved does not run"}, status: Warn, found: "does not run", fix: "dnsmasq"},
		{what: "busy", answer: rootapi.NamesAnswer{Problem: "cannot set SetLinkDNS"}, status: Warn, found: "SetLinkDNS", fix: "resolvectl status banger-dns0"},
		{what: "taken", answer: rootapi.NamesAnswer{Taken: []string{"vm of eth0"}}, status: Warn, found: "vm of eth0", fix: "resolvectl domain"},
		{what: "another's", vms: []api.VM{running}, lookup: resolves(netip.MustParseAddr("192.0.2.1")), status: Warn, found: "dev.vm is 192.0.2.1 on this host, and not the VM's 10.213.0.7", fix: "/etc/hosts"},
		{what: "asked elsewhere", vms: []api.VM{running}, lookup: resolves(), status: Warn, found: "dev.vm does not resolve", fix: "resolv.conf"},
	} {
		h := goodSystem()
		f := h.System.Helper.(fakeHelper)
		f.names, f.err = test.answer, test.err
		f.names.Outer = outer
		h.System.Helper, h.System.Lookup = f, test.lookup
		h.System.VMs = func(context.Context) ([]api.VM, error) { return test.vms, nil }
		got := namesCheck.ask(t.Context(), h)
		if got.Status != test.status || !strings.Contains(got.Found, test.found) || !strings.Contains(got.Fix, test.fix) {
			t.Errorf("%s: %+v", test.what, got)
		}
	}
}
