package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/config"
	"banger/internal/daemon"
	"banger/internal/disk"
	"banger/internal/disk/copy"
	"banger/internal/disk/dmsnap"
	"banger/internal/disk/qcow2"
	"banger/internal/disk/reflink"
	"banger/internal/doctor"
	"banger/internal/driver"
	"banger/internal/driver/jailed"
	"banger/internal/driver/qemu"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/host/network"
	"banger/internal/host/systemd"
	"banger/internal/image"
	"banger/internal/kernel"
	"banger/internal/names"
	"banger/internal/paths"
	"banger/internal/rootapi"
	"banger/internal/vm"
	"banger/internal/vm/roothost"
)

// build creates the drivers; all other code uses their interfaces.
func build(ctx context.Context, env daemon.Env) (*daemon.Services, error) {
	host := config.DetectHost()
	settings, err := config.Load(env.Paths.ConfigFile(), os.Getenv, host)
	if err != nil {
		return nil, err
	}
	// The daemon's lock is held, so the directory is not in use. Files that cannot be
	// removed do no harm.
	if err := image.EmptyStaging(ctx, env.Paths.Staging()); err != nil {
		env.Log.Warn("cannot empty the staging directory", "error", err)
	}
	packages := apt.New(env.Paths.Apt())
	images, err := image.Open(env.Paths, packages)
	if err != nil {
		return nil, err
	}
	images.UseRegistries(func() (string, error) {
		c, err := config.Load(env.Paths.ConfigFile(), os.Getenv, host)
		return c.RegistryCA, err
	}, func() (map[string]string, error) {
		c, err := config.Load(env.Paths.ConfigFile(), os.Getenv, host)
		return c.RegistryMirrors, err
	})
	images.UseShortNames(func() (map[string]string, error) {
		c, err := config.Load(env.Paths.ConfigFile(), os.Getenv, host)
		return c.ImageNames, err
	})
	kernels, err := kernel.Open(env.Paths, packages)
	if err != nil {
		return nil, err
	}
	agent, err := agentPath()
	if err != nil {
		return nil, err
	}
	parts := daemon.Parts{
		Config: settings, Host: host, Agent: agent, Version: buildinfo.Get().Version,
		Images: images, Kernels: kernels,
	}
	if env.System {
		systemMode(ctx, env, settings, kernels, &parts)
	} else {
		userMode(env, settings, kernels, &parts)
	}
	return daemon.Assemble(ctx, env, parts)
}

// userMode creates the drivers that need no privileges.
func userMode(env daemon.Env, settings config.Config, kernels *kernel.Cache, parts *daemon.Parts) {
	link := reflink.New()
	vmm := qemu.New(env.Paths, qemu.Options{Accel: settings.Accel, Binary: settings.QEMU})
	kernels.ProveWith(parts.Agent, vmm.Prove)
	parts.Drivers = []driver.Driver{vmm}
	parts.Disks = []disk.Driver{link, qcow2.New(), copy.New()}
	parts.Doctor = func(ctx context.Context, vms *vm.Service) []api.Check {
		return doctor.Run(ctx, doctor.ThisHost(env.Paths, doctor.Probes{
			Suspended: vms.Judge,
			VMM:       func(ctx context.Context) (driver.Capability, error) { return vmm.Probe(ctx, "", "") },
			Reflink:   func(ctx context.Context) error { return link.Probe(ctx, env.Paths.VMs(), env.Paths.Images()) },
		}))
	}
}

// helperPatience is how long a request waits for a root helper that restarts.
const helperPatience = 15 * time.Second

// systemMode creates the drivers that use bangerd-root for privileged work.
func systemMode(ctx context.Context, env daemon.Env, settings config.Config, kernels *kernel.Cache, parts *daemon.Parts) {
	helper := &rootapi.Client{Socket: paths.RootSocket, Version: parts.Version, Patience: helperPatience}
	boot := jailed.NewBootFiles(env.Paths.BootDigests())
	kept := keptKernels{Cache: kernels, agent: parts.Agent, boot: boot, helper: helper, log: env.Log}
	parts.Kernels = kept
	// After an update the agent's file has changed.
	go kept.keepDefault(ctx)
	user := qemu.New(env.Paths, qemu.Options{Accel: settings.Accel, Binary: settings.QEMU})
	kernels.ProveWith(parts.Agent, user.Prove)
	link := reflink.New()
	snapshots := dmsnap.New(func(ctx context.Context) error {
		var host rootapi.CheckAnswer
		_, err := helper.Do(ctx, rootapi.CheckCall{}, &host)
		if err == nil && host.DeviceMapper != "" {
			err = api.Errorf(api.KindUnsupported, "%s", host.DeviceMapper)
		}
		return err
	})
	parts.Drivers = []driver.Driver{jailed.NewFirecracker(helper, boot), jailed.NewQEMU(helper, boot, user, user.Clock)}
	parts.Disks = []disk.Driver{snapshots, link, copy.New()}
	parts.RootHost = roothost.Host{Helper: helper, Snapshots: snapshots.Name()}
	parts.Names = &names.Service{Helper: helper, Log: env.Log}
	parts.Doctor = systemDoctor(env, *parts, helper)
}

// systemDoctor returns the checks: what the daemon, which is not root, can find out,
// and the helper for the rest.
func systemDoctor(env daemon.Env, parts daemon.Parts, helper *rootapi.Client) func(context.Context, *vm.Service) []api.Check {
	return func(ctx context.Context, vms *vm.Service) []api.Check {
		h := doctor.ThisHost(env.Paths, doctor.Probes{})
		h.System = &doctor.System{
			Version: parts.Version, Helper: helper, Drivers: parts.Drivers, Driver: parts.Config.Driver,
			Unit:     unitState,
			Resolver: func() netip.Addr { return network.Upstream(os.ReadFile) },
			Lookup:   lookUp,
			VMs:      vms.ShowAll, Snapshots: dmsnap.New(nil).Name(),
			Leaks: vms.Leaks,
		}
		return doctor.Run(ctx, h)
	}
}

// unitState asks systemd, which answers all users.
func unitState(ctx context.Context, name string) (doctor.Unit, error) {
	bus, err := systemd.Connect(ctx)
	if err != nil {
		return doctor.Unit{}, err
	}
	defer bus.Close()
	s, err := bus.State(ctx, name)
	return doctor.Unit{Active: s.Active, Enabled: s.Enabled, Result: s.Result}, err
}

// agentPath finds the guest's agent: $BANGER_AGENT, or the one beside this program.
func agentPath() (string, error) {
	if path := os.Getenv("BANGER_AGENT"); path != "" {
		return filepath.Abs(path)
	}
	self, err := os.Executable()
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot find the guest agent: %w", err)
	}
	return filepath.Join(filepath.Dir(self), "banger-agent"), nil
}

// lookUp returns the IPv4 addresses that this host's programs find for a name: getent(1) asks the
// sources of nsswitch.conf(5).
func lookUp(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var out strings.Builder
	if err := execx.Run(ctx, execx.Cmd{Name: "getent", Args: []string{"ahostsv4", name}, Stdout: &out, Package: "libc-bin"}); err != nil {
		return nil, err
	}
	var all []netip.Addr
	for line := range strings.Lines(out.String()) {
		first, _, _ := strings.Cut(line, " ")
		if a, err := netip.ParseAddr(first); err == nil && !slices.Contains(all, a) { // once for each type of socket
			all = append(all, a)
		}
	}
	return all, nil
}
