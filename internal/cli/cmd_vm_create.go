package cli

import (
	"fmt"

	"banger/api"
	"banger/internal/config"

	"github.com/spf13/cobra"
)

// vmFlags are the flags that describe a new VM. They are strings, so that banger, not the
// flag parser, reports invalid ones.
type vmFlags struct {
	name, image, kernel, driver string
	vcpu, memory, disk, network string
	init                        string
	publish                     []string
}

func (s *vmFlags) flags(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.name, "name", "", "name, a DNS label (default: an adjective and a noun)")
	f.StringVar(&s.image, "image", "", "root file system: a name in the cache, or a reference such as alpine:3.20, which is then pulled (default: the setting image)")
	f.StringVar(&s.kernel, "kernel", "", "kernel (default: the distribution's newest)")
	f.StringVar(&s.driver, "driver", "", "what runs the VM: qemu, or firecracker in system mode")
	f.StringVar(&s.network, "network", "", "none: a VM without a network")
	f.StringVar(&s.init, "init", "", "process 1 of the guest: agent, systemd (the image's own init), auto (as the image requests), or a program's path")
	f.StringVar(&s.vcpu, "vcpu", "", "number of processors")
	f.StringVar(&s.memory, "memory", "", "memory, such as 512M or 4G")
	f.StringVar(&s.disk, "disk", "", "size of the disk, such as 20G; only written data occupies space")
	f.StringArrayVarP(&s.publish, "publish", "p", nil, "publish a `PORT`: [ADDRESS:]HOSTPORT:GUESTPORT[/udp]; may be repeated")
	a.completeFlag(cmd, "image", a.imageNames)
	a.completeFlag(cmd, "kernel", a.kernelNames)
	a.completeFlag(cmd, "driver", func() []string { return []string{"firecracker", "qemu"} })
	a.completeFlag(cmd, "init", func() []string { return []string{api.InitAgent, api.InitSystemd, api.InitAuto} })
	a.completeFlag(cmd, "network", func() []string { return []string{api.NetworkNone} })
}

// request reads the flags. For flags not given it reads this process's environment,
// which may differ from the daemon's.
func (s *vmFlags) request(a *app, cmd *cobra.Command) (api.CreateVM, error) {
	req := api.CreateVM{Name: s.name}
	var err error
	read := func(flag, variable, value string, set func(string) error) {
		what := "--" + flag
		if value == "" && !cmd.Flags().Changed(flag) {
			what, value = variable, a.env(variable)
			if value == "" {
				return
			}
		}
		if e := set(value); e != nil && err == nil {
			err = usagef(cmd, "cannot use %s: %w", what, e)
		}
	}
	word := func(to *string) func(string) error {
		return func(v string) error {
			if *to = v; v == "" {
				return fmt.Errorf("it is empty")
			}
			return nil
		}
	}
	read("image", "BANGER_IMAGE", s.image, word(&req.Image))
	read("kernel", "BANGER_KERNEL", s.kernel, word(&req.Kernel))
	read("driver", "BANGER_DRIVER", s.driver, word(&req.Driver))
	read("init", "BANGER_INIT", s.init, func(v string) (e error) { req.Init, e = config.ParseInit(v); return })
	read("vcpu", "BANGER_VCPUS", s.vcpu, func(v string) (e error) { req.VCPUs, e = config.ParseVCPUs(v); return })
	read("memory", "BANGER_MEMORY", s.memory, func(v string) (e error) { req.MemoryBytes, e = config.ParseMemory(v); return })
	read("disk", "BANGER_DISK", s.disk, func(v string) (e error) { req.DiskBytes, e = config.ParseDisk(v); return })
	read("network", "BANGER_NETWORK", s.network, func(v string) error {
		if req.Network = v; v != api.NetworkNone {
			return fmt.Errorf("%.40q is not none", v)
		}
		return nil
	})
	if err == nil {
		req.Publish, err = publishedFlag(cmd, s.publish)
	}
	if err == nil && cmd.Flags().Changed("name") && s.name == "" {
		err = usagef(cmd, "cannot use --name: it is empty")
	}
	return req, err
}

func newVMCreate(a *app) *cobra.Command {
	var s vmFlags
	var start, force bool
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Create a VM without starting it",
		Long: `Create a VM without starting it, and print its name. With --start it starts too,
but runs nothing: the Entrypoint and Cmd of its image are for banger vm run.`,
		Example: `  banger vm create dev --memory 4G --disk 20G
  banger vm create --start`,
		Args: arguments(0, 1, "one name at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if s.name != "" {
					return usagef(cmd, "cannot use two names: %q and --name %q", args[0], s.name)
				}
				s.name = args[0]
			}
			req, err := s.request(a, cmd)
			if err != nil {
				return err
			}
			if force && !start {
				return usagef(cmd, "cannot use --force without --start: a VM that does not run uses no memory")
			}
			req.Start, req.Force = start, force
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.newProgress()
			vm, err := c.VMs().Create(cmd.Context(), req, p.report)
			p.done()
			if err != nil {
				return err
			}
			a.notePublished(req.Publish, nil, vm)
			_, err = fmt.Fprintln(a.out, vm.Name)
			return err
		},
	}
	s.flags(a, cmd)
	cmd.Flags().BoolVar(&start, "start", false, "also start it")
	forceMemory(cmd, &force)
	return cmd
}
