package cli

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"banger/api"
	"banger/internal/guest/forward"

	"github.com/spf13/cobra"
)

// publishedNotes returns what a user has to know about published ports: which port was
// chosen, and which ports other machines can reach. before is what the VM published
// already.
func publishedNotes(asked, before []api.PublishedPort, vm api.VM) (notes []string) {
	for _, p := range vm.Publish {
		chosen := chosen(p, asked, before)
		if p.HostPort == 0 || !chosen && !slices.Contains(asked, p) {
			continue
		}
		spec, err := forward.Published(p)
		if err == nil && chosen {
			notes = append(notes, fmt.Sprintf("%s leads to %s", hostSide(p), targetIn(vm.Name, spec.To)))
		}
		if err == nil && forward.Open(spec.Listen) {
			notes = append(notes, hostSide(p)+" can be reached from other machines")
		}
	}
	return notes
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
chooses a free port, which is printed. A port is published whenever the VM runs or is
suspended, at once if it is so now, and stays published across restarts of the VM, of
the daemon and of this machine, and across updates. A connection to a port of a
suspended VM wakes it.`,
		Example: `  banger vm publish dev 8080:80
  banger vm publish dev 0.0.0.0:8443:443 5353:53/udp`,
		Args:              arguments(2, -1, "the name of a VM and ports"),
		ValidArgsFunction: completeArgs(1, vmNames),
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
			a.std.notes(publishedNotes(ports, before.Publish, vm))
			for _, p := range vm.Publish {
				if chosen(p, ports, before.Publish) {
					if _, err := fmt.Fprintln(a.std.out, hostSide(p)); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
}

func hostSide(p api.PublishedPort) string {
	return withProtocol(net.JoinHostPort(p.Address, strconv.Itoa(p.HostPort)), p.Protocol)
}
