package cli

import (
	"fmt"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/config"
	"banger/internal/guest/forward"
	"banger/internal/label"

	"github.com/spf13/cobra"
)

// vmFlags are the flags that describe a new VM. They are strings, so that banger, not the
// flag parser, reports invalid ones.
type vmFlags struct {
	name, profile, image        string
	kernel, driver              string
	vcpu, memory, disk, network string
	init, tools                 string
	nat                         bool
	snapshot                    string
	publish, labels             []string
}

func (s *vmFlags) flags(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.name, "name", "", "name, a DNS label (default: an adjective and a noun)")
	f.StringVar(&s.profile, "profile", "", "`NAME` of a profile of the settings, for what no other flag sets")
	f.StringVar(&s.image, "image", "", "root file system: a name in the cache, or a reference such as alpine:3.20, which is then pulled (default: the setting image)")
	f.StringVar(&s.kernel, "kernel", "", "kernel (default: the distribution's newest)")
	f.StringVar(&s.driver, "driver", "", "what runs the VM: qemu, or firecracker in system mode")
	f.StringVar(&s.network, "network", "", "isolated: the host reaches the VM, and the VM reaches nothing; none: no network; nat (default: as the settings say)")
	f.BoolVar(&s.nat, "nat", true, "false: --network isolated; true: --network nat")
	f.StringVar(&s.init, "init", "", "process 1 of the guest: agent, systemd (the image's own init), auto (as the image requests), or a program's path")
	f.StringVar(&s.tools, "tools", "", "mise: before commands, mise installs what mise.toml or .tool-versions of their directory names; or none")
	f.StringVar(&s.vcpu, "vcpu", "", "number of processors")
	f.StringVar(&s.memory, "memory", "", "memory, such as 512M or 4G")
	f.StringVar(&s.disk, "disk", "", "size of the disk, such as 20G; only written data occupies space")
	f.StringArrayVarP(&s.publish, "publish", "p", nil, "publish a `PORT`: [ADDRESS:]HOSTPORT:GUESTPORT[/udp]; may be repeated; replaces those of the settings")
	f.StringArrayVar(&s.labels, "label", nil, "a label, as `KEY=VALUE`; may be repeated")
	completeFlag(cmd, "image", imageNames)
	completeFlag(cmd, "kernel", kernelNames)
	completeFlag(cmd, "driver", func() []string { return []string{"firecracker", "qemu"} })
	completeFlag(cmd, "init", func() []string { return []string{api.InitAgent, api.InitSystemd, api.InitAuto} })
	completeFlag(cmd, "tools", func() []string { return []string{api.ToolsMise, api.ToolsNone} })
	completeFlag(cmd, "network", func() []string { return networks })
	completeFlag(cmd, "profile", profileNames)
}

// request reads the flags. For flags not given it reads this process's environment,
// which may differ from the daemon's.
func (s *vmFlags) request(a *app, cmd *cobra.Command) (api.CreateVM, error) {
	req := api.CreateVM{Name: s.name, Profile: s.profile, From: s.snapshot}
	var err error
	read := func(flag, variable, value string, set func(string) error) {
		what := "--" + flag
		if s.snapshot != "" && !cmd.Flags().Changed(flag) {
			return // it has what its snapshot has
		}
		if value == "" && !cmd.Flags().Changed(flag) {
			what, value = variable, a.std.env(variable)
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
	read("tools", "BANGER_TOOLS", s.tools, func(v string) (e error) { req.Tools, e = config.ParseTools(v); return })
	read("vcpu", "BANGER_VCPUS", s.vcpu, func(v string) (e error) { req.VCPUs, e = config.ParseVCPUs(v); return })
	read("memory", "BANGER_MEMORY", s.memory, func(v string) (e error) { req.MemoryBytes, e = config.ParseMemory(v); return })
	read("disk", "BANGER_DISK", s.disk, func(v string) (e error) { req.DiskBytes, e = config.ParseDisk(v); return })
	if err == nil && (s.snapshot == "" || cmd.Flags().Changed("network") || cmd.Flags().Changed("nat")) {
		req.Network, err = s.networkOf(a, cmd)
	}
	if err == nil {
		req.Publish, err = publishedFlag(cmd, s.publish)
	}
	if err == nil {
		var labels label.Change
		if labels, err = labelFlag(cmd, s.labels); err == nil && len(labels.Remove) > 0 {
			err = usagef(cmd, "cannot remove the label %s: a new VM has none", labels.Remove[0])
		}
		req.Labels = labels.Set
	}
	if err == nil && cmd.Flags().Changed("name") && s.name == "" {
		err = usagef(cmd, "cannot use --name: it is empty")
	}
	if err == nil && cmd.Flags().Changed("profile") && s.profile == "" {
		err = usagef(cmd, "cannot use --profile: it is empty")
	}
	return req, err
}

// networks are the values of --network.
var networks = []string{api.NetworkNAT, api.NetworkIsolated, api.NetworkNone}

// networkOf returns the network that is asked for; empty: the daemon's default. A flag wins over
// the environment, in which the more special variable wins.
func (s *vmFlags) networkOf(a *app, cmd *cobra.Command) (string, error) {
	byNAT := func(nat bool) string {
		if nat {
			return api.NetworkNAT
		}
		return api.NetworkIsolated
	}
	what, network := "--network", s.network
	switch name, nat := cmd.Flags().Changed("network"), cmd.Flags().Changed("nat"); {
	case name && nat && network != byNAT(s.nat):
		return "", usagef(cmd, "cannot use --network %.40s with --nat=%t: they contradict each other", network, s.nat)
	case name:
	case nat:
		return byNAT(s.nat), nil
	case a.std.env("BANGER_NETWORK") != "":
		what, network = "BANGER_NETWORK", a.std.env("BANGER_NETWORK")
	case a.std.env("BANGER_NAT") != "":
		nat, err := config.ParseNAT(a.std.env("BANGER_NAT"))
		if err != nil {
			return "", usagef(cmd, "cannot use BANGER_NAT: %w", err)
		}
		return byNAT(nat), nil
	default:
		return "", nil
	}
	if !slices.Contains(networks, network) {
		return "", usagef(cmd, "cannot use %s: %.40q is not one of %s", what, network, strings.Join(networks, ", "))
	}
	return network, nil
}

// snapshotFlag adds the flag for a VM that begins with a snapshot.
func (s *vmFlags) snapshotFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.snapshot, "snapshot", "", "begin with the snapshot `NAME`, instead of with an image; the VM has what the one had that it was made of")
	completeFlag(cmd, "snapshot", snapshotNames)
}

// forceMemory adds the flag that lets running VMs have more memory than the host.
func forceMemory(cmd *cobra.Command, force *bool) {
	cmd.Flags().BoolVar(force, "force", false, "start it even if the running VMs would have more memory than this host")
}

// labelFlag parses the values of --label.
func labelFlag(cmd *cobra.Command, texts []string) (label.Change, error) {
	c, err := label.Parse(texts)
	if err != nil {
		return c, &usageError{err: err, command: cmd.CommandPath()}
	}
	return c, nil
}

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
