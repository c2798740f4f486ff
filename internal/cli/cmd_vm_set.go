package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/config"

	"github.com/spf13/cobra"
)

// setVM is one `vm set`. Its flags are strings, so that banger, not the flag parser, reports
// invalid ones.
type setVM struct {
	a                           *app
	memory, vcpu, disk, network string
	idleSuspend                 string
	publish, labels             []string
}

func newVMSet(a *app) *cobra.Command {
	s := setVM{a: a}
	cmd := &cobra.Command{
		Use:   "set NAME...",
		Short: "Change the size, the network, the ports and the labels of VMs",
		Long: `Change the size, the network, the published ports and the labels of VMs, and after what
time without use they are suspended. If several are named, each is changed on its own, and
a failure does not stop the others.

What a VM that does not run has changes for its next start. Of one that runs:

  --label      changes at once: KEY=VALUE sets a label, KEY- removes it
  --publish    changes at once: the ports are all that the VM publishes from now on
  --disk       grows at once with QEMU in user mode, with the file system in it; if
               that is not possible, at the next start. A disk never shrinks
  --idle-suspend
               changes at once: after that time in which nobody uses it the VM is
               suspended. What uses it: a command without a terminal, what a session or
               connection carries, and work of its processors. "banger vm show" says when
               it would be suspended, and what it was last used for
  --memory, --vcpu, --network
               change at the next start; until then the VM has what it has`,
		Example: `  banger vm set dev --memory 4G
  banger vm set dev --vcpu 4 --memory 8G
  banger vm set dev --disk 32G
  banger vm set dev --idle-suspend 30m
  banger vm set web-1 web-2 --label team=web --label old-
  banger vm set dev --publish 8080:80 --publish 5353:53/udp
  banger vm set dev --publish none`,
		Args:              arguments(1, -1, "the name of a VM"),
		ValidArgsFunction: completeArgs(-1, vmNames),
		RunE:              s.run,
	}
	f := cmd.Flags()
	f.StringVar(&s.memory, "memory", "", "memory, such as 512M or 4G")
	f.StringVar(&s.disk, "disk", "", "size of the disk, such as 32G, no less than it has")
	f.StringVar(&s.vcpu, "vcpu", "", "number of processors")
	f.StringVar(&s.network, "network", "", "nat: it reaches the outside; isolated: the host reaches it, and it reaches nothing; none: no network")
	f.StringVar(&s.idleSuspend, "idle-suspend", "", "suspend it after this time without use, such as 30m, or never: off")
	f.StringArrayVarP(&s.publish, "publish", "p", nil, "publish this `PORT` and no others that are not given: [ADDRESS:]HOSTPORT:GUESTPORT[/udp], or none; may be repeated")
	f.StringArrayVar(&s.labels, "label", nil, "set a label, as `KEY=VALUE`, or remove one, as KEY-; may be repeated")
	completeFlag(cmd, "network", func() []string { return networks })
	return cmd
}

func (s *setVM) run(cmd *cobra.Command, names []string) error {
	req, err := s.request(cmd)
	if err != nil {
		return err
	}
	if req.Empty() {
		return usagef(cmd, "nothing to change: give --memory, --vcpu, --disk, --network, --publish, --idle-suspend or --label")
	}
	if req.Publish != nil && len(names) > 1 {
		for _, p := range *req.Publish {
			if p.HostPort != 0 {
				return usagef(cmd, "cannot publish %s for %d VMs: a port of this host leads to one; host port 0 means a free one for each", p, len(names))
			}
		}
	}
	c, err := s.a.client()
	if err != nil {
		return err
	}
	return s.a.each(cmd.Context(), names, func(ctx context.Context, name string, _ api.Report) (string, error) {
		var before []api.PublishedPort
		if req.Publish != nil {
			vm, err := c.VMs().Show(ctx, name)
			if err != nil {
				return "", err
			}
			name, before = vm.ID, vm.Publish
		}
		vm, err := c.VMs().Set(ctx, name, req)
		if err != nil {
			return "", err
		}
		if req.Publish != nil {
			s.a.std.notes(publishedNotes(*req.Publish, before, vm))
		}
		s.a.std.notes(setNotes(req, vm))
		return vm.Name, nil
	})
}

// request reads the flags.
func (s *setVM) request(cmd *cobra.Command) (req api.SetVM, err error) {
	read := func(flag string, set func() error) {
		if err == nil && cmd.Flags().Changed(flag) {
			if e := set(); e != nil {
				err = usagef(cmd, "cannot use --%s: %w", flag, e)
			}
		}
	}
	read("memory", func() error {
		n, err := config.ParseMemory(s.memory)
		req.MemoryBytes = &n
		return err
	})
	read("vcpu", func() error {
		n, err := config.ParseVCPUs(s.vcpu)
		req.VCPUs = &n
		return err
	})
	read("disk", func() error {
		n, err := config.ParseDisk(s.disk)
		req.DiskBytes = &n
		return err
	})
	read("network", func() error {
		if req.Network = &s.network; !slices.Contains(networks, s.network) {
			return fmt.Errorf("%.40q is not one of %s", s.network, strings.Join(networks, ", "))
		}
		return nil
	})
	read("idle-suspend", func() error {
		seconds, err := idleSeconds(s.idleSuspend)
		req.IdleSuspendSeconds = &seconds
		return err
	})
	if err == nil && len(s.publish) > 0 {
		req.Publish, err = s.published(cmd)
	}
	if err == nil {
		labels, e := labelFlag(cmd, s.labels)
		req.Labels, req.RemoveLabels, err = labels.Set, labels.Remove, e
	}
	return req, err
}

// idleSeconds reads a time without use in seconds; off is 0.
func idleSeconds(text string) (int64, error) {
	if text == "off" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a time such as 30m or 2h, or off", text)
	}
	if d < api.MinIdleSuspend*time.Second {
		return 0, fmt.Errorf("%s is less than %d seconds; off means never", text, api.MinIdleSuspend)
	}
	return int64(d / time.Second), nil
}

// published reads --publish: ports, or none of them.
func (s *setVM) published(cmd *cobra.Command) (*[]api.PublishedPort, error) {
	for _, text := range s.publish {
		if text == "none" && len(s.publish) > 1 {
			return nil, usagef(cmd, "cannot use --publish none together with ports")
		}
	}
	if s.publish[0] == "none" {
		return &[]api.PublishedPort{}, nil
	}
	ports, err := publishedFlag(cmd, s.publish)
	return &ports, err
}

// setNotes returns what of a change waits for the next start of a VM.
func setNotes(req api.SetVM, vm api.VM) (notes []string) {
	if vm.Next == nil {
		return nil
	}
	asked, disk := *vm.Next, vm.Next.DiskReason
	if req.VCPUs == nil {
		asked.VCPUs = 0
	}
	if req.MemoryBytes == nil {
		asked.MemoryBytes = 0
	}
	if req.Network == nil {
		asked.Network = ""
	}
	if req.DiskBytes == nil {
		asked.DiskBytes = 0
	}
	asked.DiskReason = ""
	waits := nextStart(api.VM{Next: &asked})
	if len(waits) == 0 {
		return nil
	}
	if asked.DiskBytes != 0 && disk != "" {
		notes = append(notes, fmt.Sprintf("the disk of VM %s cannot grow now: %s", vm.Name, disk))
	}
	when := "runs: at its next start"
	if vm.State == api.StateSuspended {
		when = "is suspended: at its next start without its memory"
	}
	return append(notes, fmt.Sprintf("VM %s %s it has %s", vm.Name, when, strings.Join(waits, ", ")))
}
