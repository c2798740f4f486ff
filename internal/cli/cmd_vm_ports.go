package cli

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"

	"github.com/spf13/cobra"
)

func newVMPorts(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ports NAME",
		Short: "Show the listening and published ports of a VM",
		Long: `Show the ports on which programs in a VM listen, and where they are published on
this host. A published port on which nothing listens has no process.`,
		Example:           "  banger vm ports dev\n  banger vm ports --json dev",
		Args:              arguments(1, 1, "the name of a VM"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			vm, err := c.VMs().Show(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			ports := api.Ports{Published: vm.Publish, Listening: []api.ListeningPort{}}
			if vm.Publish == nil {
				ports.Published = []api.PublishedPort{}
			}
			if vm.State == api.StateRunning {
				if ports.Listening, err = c.Guest(vm.ID).Ports(cmd.Context()); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(a.std.out, "", ports)
			}
			return portsTable(ports).write(a.std.out)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func portsTable(ports api.Ports) *table {
	t := newTable("IN THE VM", "PROCESS", "PUBLISHED")
	used := map[api.PublishedPort]bool{}
	for _, l := range ports.Listening {
		var at []string
		for _, p := range ports.Published {
			if leadsTo(p, l) {
				used[p] = true
				at = append(at, hostSide(p))
			}
		}
		t.add(withProtocol(net.JoinHostPort(l.Address, strconv.Itoa(l.Port)), l.Protocol), processOf(l), cmp.Or(strings.Join(at, ", "), "-"))
	}
	for _, p := range ports.Published {
		if !used[p] {
			t.add(withProtocol("port "+strconv.Itoa(p.GuestPort), p.Protocol), "-", hostSide(p))
		}
	}
	return t
}

// leadsTo reports whether a connection to a published port reaches a listening port.
func leadsTo(p api.PublishedPort, l api.ListeningPort) bool {
	address := stdio.Endpoint{Network: l.Protocol, Address: net.JoinHostPort(l.Address, strconv.Itoa(l.Port))}
	unspecified := l.Address == "0.0.0.0" || l.Address == "::"
	return p.Protocol == l.Protocol && p.GuestPort == l.Port && (unspecified || !forward.Open(address))
}

func processOf(l api.ListeningPort) string {
	if l.PID == 0 {
		return fmt.Sprintf("of user %d", l.UID)
	}
	return fmt.Sprintf("%s (%d)", l.Process, l.PID)
}
