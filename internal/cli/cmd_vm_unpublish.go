package cli

import (
	"strconv"

	"banger/api"
	"banger/internal/guest/forward"

	"github.com/spf13/cobra"
)

func newVMUnpublish(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "unpublish NAME PORT...",
		Short: "Stop publishing ports of a VM",
		Long: `Stop publishing ports of a VM: each PORT is as it was published, or only its port on
this host, as in 8080 or 5353/udp. Open connections of the port are closed.`,
		Example:           "  banger vm unpublish dev 8080\n  banger vm unpublish dev 5353/udp",
		Args:              arguments(2, -1, "the name of a VM and ports"),
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
