package daemon

import (
	"context"
	"errors"
	"os"
	"sync"

	"banger/api"
	"banger/internal/config"
	"banger/internal/daemon/caches"
	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/guest/hostfiles"
	"banger/internal/host/console"
	"banger/internal/installlock/hold"
	"banger/internal/names"
	"banger/internal/op"
	"banger/internal/publish"
	"banger/internal/store"
	"banger/internal/vm"
	"banger/internal/vmid"
)

// Parts are the concrete implementations that services are assembled from; tests use fakes.
type Parts struct {
	Config   config.Config
	Host     config.Host
	Drivers  []driver.Driver
	Disks    []disk.Driver // in order of preference
	RootHost vm.Host       // creates the root-only objects of VMs; nil in user mode
	Agent    string        // path of the guest agent's binary
	Version  string
	// Images and Kernels are the caches. They are opened before Assemble.
	Images  caches.ImageCache
	Kernels caches.KernelCache
	Names   *names.Service // nil in user mode, in which the host has no addresses of VMs
	// Doctor examines the host; vms are those of the services.
	Doctor func(ctx context.Context, vms *vm.Service) []api.Check
}

// defaults reads the settings again, so that a change of the file applies immediately.
func defaults(file string, host config.Host) (vm.Defaults, error) {
	c, err := config.Load(file, os.Getenv, host)
	return vm.Defaults{
		Image: c.Image, Kernel: c.Kernel, Driver: c.Driver, Init: c.Init, Tools: c.Tools, Isolated: !c.NAT, VCPUs: c.VCPUs,
		MemoryBytes: c.MemoryBytes, DiskBytes: c.DiskBytes, Grace: c.Grace, BootTimeout: c.BootTimeout,
		Files: files(c), Apply: c.Apply,
	}, err
}

// files are what the settings have copied into guests.
func files(c config.Config) hostfiles.Wanted {
	wanted := hostfiles.Wanted{GitIdentity: c.GitIdentity}
	for _, f := range c.Files {
		wanted.Rules = append(wanted.Rules, hostfiles.Rule{Host: f.Host, Guest: f.Guest, Mode: f.Mode, Owner: f.Owner, Large: f.Large})
	}
	for _, f := range c.Dotfiles {
		wanted.Rules = append(wanted.Rules, hostfiles.Rule{Host: f, Guest: f})
	}
	return wanted
}

// startsPerCPU is how many VMs per processor boot at the same time: a boot spends half of its time
// waiting for other things than the processor, and each gets enough of one to stay far from its
// time-out.
const startsPerCPU = 2

// memory returns how much memory all VMs together may have, in bytes: in system mode they have their
// own slice, otherwise they share this program's cgroup.
func memory(host config.Host, system bool) (m vm.Memory) {
	group := vmid.Slice
	if !system {
		group = config.OwnCgroup()
	}
	m.Bytes, m.Whose = host.MemoryFor(group)
	return m
}

// serveNames answers questions about the names of VMs, in system mode, until end is called.
func serveNames(ctx context.Context, s *names.Service, vms *vm.Service) (end func()) {
	if s == nil {
		return func() {}
	}
	s.Find = vms.Find
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// Assemble opens the store and makes services of parts.
func Assemble(ctx context.Context, env Env, parts Parts) (*Services, error) {
	st, err := store.Open(ctx, env.Paths.Store())
	if err != nil {
		return nil, err
	}
	watcher, err := console.NewWatcher(env.Log, parts.Config.ConsoleBytes)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	ops := op.NewManager(st, env.Log)
	ops.Gate(func(kind string) error {
		// Ended operations may be removed: `vm run --rm` removes its VM regardless of others.
		if kind == vm.KindDelete {
			return nil
		}
		return hold.Check(env.Paths.Hold(), kind)
	})
	c := parts.Config
	ports := publish.NewManager(env.Paths, env.System, env.Log)
	cached := caches.Caches{Images: parts.Images, Exports: parts.Images, InPlace: parts.Images, Kernels: parts.Kernels, Ops: ops}
	vms := vm.New(vm.Options{
		Paths: env.Paths, Store: st, Ops: ops, Images: parts.Images, Kernels: parts.Kernels,
		Drivers: parts.Drivers, Disks: parts.Disks, Host: parts.RootHost, Ports: ports, Agent: parts.Agent, Version: parts.Version,
		Defaults: func() (vm.Defaults, error) { return defaults(c.File(), parts.Host) },
		Limits:   vm.Limits{VCPUs: parts.Host.CPUs, MemoryBytes: parts.Host.MemoryBytes, Starts: startsPerCPU * parts.Host.CPUs},
		Memory:   func() vm.Memory { return memory(parts.Host, env.System) },
		Watch:    watcher.Watch, Outcome: cached.Outcome, Again: func(left op.Unfinished) (op.Plan, bool) { return cached.Again(left) }, Logger: env.Log,
	})
	cached.Use = vms
	endNames := serveNames(ctx, parts.Names, vms)
	return &Services{
		VMs: vms, Lifecycle: vms, Signals: vms, Pauses: vms, Snapshots: vms.Snapshots, Changes: vms, Guests: vms, Observer: vms, Leases: vms,
		Caches: cached, Operations: ops,
		Doctor: func(ctx context.Context) []api.Check { return parts.Doctor(ctx, vms) }, Recover: vms.Recover,
		Degraded: st.Degraded, Answers: st,
		Config: func(profile, image string) (api.Config, error) {
			now, err := config.Load(c.File(), os.Getenv, parts.Host)
			if err != nil || profile == "" && image == "" {
				return now.API(), err
			}
			return now.APIFor(profile, image)
		},
		Detach: func() {
			ops.Close() // they use the links
			vms.Detach()
		},
		Close: func() error {
			endNames()
			ops.Close()
			vms.Close()
			ports.Detach()
			watcher.Close()
			return st.Close()
		},
	}, nil
}
