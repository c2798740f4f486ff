package cli

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"

	"github.com/spf13/cobra"
)

// publishedFlag parses the values of --publish.
func publishedFlag(cmd *cobra.Command, texts []string) ([]api.PublishedPort, error) {
	var ports []api.PublishedPort
	for _, text := range texts {
		p, err := forward.ParsePublished(text)
		if err != nil {
			return nil, &usageError{err: err, command: cmd.CommandPath()}
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// notePublished prints what a user has to know about published ports: which port was
// chosen, and which ports other machines can reach. before is what the VM published
// already.
func (a *app) notePublished(asked, before []api.PublishedPort, vm api.VM) {
	for _, p := range vm.Publish {
		chosen := chosen(p, asked, before)
		if p.HostPort == 0 || !chosen && !slices.Contains(asked, p) {
			continue
		}
		spec, err := forward.Published(p)
		if err == nil && chosen {
			a.note("%s leads to %s", hostSide(p), targetIn(vm.Name, spec.To))
		}
		if err == nil && forward.Open(spec.Listen) {
			a.note("%s can be reached from other machines", hostSide(p))
		}
	}
}

// chosen reports whether a published port was chosen for one requested as 0.
func chosen(p api.PublishedPort, asked, before []api.PublishedPort) bool {
	free := p
	free.HostPort = 0
	return slices.Contains(asked, free) && !slices.Contains(before, p)
}

func newVMPublish(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "publish NAME PORT...",
		Short: "Publish ports of a VM on this host",
		Long: `Publish ports of a VM on this host: each PORT is [ADDRESS:]HOSTPORT:GUESTPORT[/udp].
The default address is the loopback, which other machines cannot reach. Host port 0
chooses a free port, which is printed. A port is published whenever the VM runs, at
once if it runs now, and stays published across restarts of the VM, of the daemon
and of this machine, and across updates.`,
		Example: `  banger vm publish dev 8080:80
  banger vm publish dev 0.0.0.0:8443:443 5353:53/udp`,
		Args:              arguments(2, -1, "the name of a VM and ports"),
		ValidArgsFunction: a.completeArgs(1, a.vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			ports, err := publishedFlag(cmd, args[1:])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			before, err := c.VMs().Show(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			vm, err := c.VMs().Publish(cmd.Context(), before.ID, api.PublishVM{Add: ports})
			if err != nil {
				return err
			}
			a.notePublished(ports, before.Publish, vm)
			for _, p := range vm.Publish {
				if chosen(p, ports, before.Publish) {
					if _, err := fmt.Fprintln(a.out, hostSide(p)); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
}

func newVMUnpublish(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "unpublish NAME PORT...",
		Short: "Stop publishing ports of a VM",
		Long: `Stop publishing ports of a VM: each PORT is as it was published, or only its port on
this host, as in 8080 or 5353/udp. Open connections of the port are closed.`,
		Example:           "  banger vm unpublish dev 8080\n  banger vm unpublish dev 5353/udp",
		Args:              arguments(2, -1, "the name of a VM and ports"),
		ValidArgsFunction: a.completeArgs(1, a.vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			vm, err := c.VMs().Show(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var req api.PublishVM
			for _, text := range args[1:] {
				found := publishedAs(vm, text)
				if len(found) == 0 {
					return api.Errorf(api.KindNotFound, "VM %s does not publish %.100s", vm.Name, text).WithHint("banger vm ports %s", vm.Name)
				}
				req.Remove = append(req.Remove, found...)
			}
			_, err = c.VMs().Publish(cmd.Context(), vm.ID, req)
			return err
		},
	}
}

// publishedAs returns the published ports that a text means: the whole port, its address
// and host port as vm ports prints them, or its host port.
func publishedAs(vm api.VM, text string) []api.PublishedPort {
	var found []api.PublishedPort
	whole, err := forward.ParsePublished(text)
	for _, p := range vm.Publish {
		if err == nil && p == whole || text == withProtocol(strconv.Itoa(p.HostPort), p.Protocol) || text == hostSide(p) {
			found = append(found, p)
		}
	}
	return found
}

func newVMPorts(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ports NAME",
		Short: "Show the listening and published ports of a VM",
		Long: `Show the ports on which programs in a VM listen, and where they are published on
this host. A published port on which nothing listens has no process.`,
		Example:           "  banger vm ports dev\n  banger vm ports --json dev",
		Args:              arguments(1, 1, "the name of a VM"),
		ValidArgsFunction: a.completeArgs(1, a.vmNames),
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
				return printJSON(a.out, "", ports)
			}
			return portsTable(ports).write(a.out)
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

func hostSide(p api.PublishedPort) string {
	return withProtocol(net.JoinHostPort(p.Address, strconv.Itoa(p.HostPort)), p.Protocol)
}

func processOf(l api.ListeningPort) string {
	if l.PID == 0 {
		return fmt.Sprintf("of user %d", l.UID)
	}
	return fmt.Sprintf("%s (%d)", l.Process, l.PID)
}
