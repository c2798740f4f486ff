package vm

import (
	"context"
	"log/slog"
	"time"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/guest/hostfiles"
	"banger/internal/host/fsx"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/vm/access"
	"banger/internal/vm/change"
	"banger/internal/vm/disks"
	"banger/internal/vm/filesync"
	"banger/internal/vm/idle"
	"banger/internal/vm/instance"
	"banger/internal/vm/machines"
	"banger/internal/vm/observe"
	"banger/internal/vm/ports"
	"banger/internal/vm/reconcile"
	"banger/internal/vm/records"
	"banger/internal/vm/snapshots"
	"banger/internal/vm/suspend"
	"banger/internal/vm/tasks"
	"banger/internal/vm/turns"
)

// KindDelete is the kind of the operations that delete a VM.
const KindDelete = records.KindDelete

// Store stores VMs and unfinished operations. internal/store implements it.
type Store interface {
	records.Store
	reconcile.Store
}

// Images is the service's interface to the image cache.
type Images interface {
	disks.Images
	Get(ref string) (api.Image, error)
	CanPull(name string) bool
	Pull(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error)
	// CheckName refuses text that is not a valid name of an image.
	CheckName(name string) error
	// CheckKernel makes sure that the files from which a registered image's kernel was made are what they
	// were, if the kernel was made of them.
	CheckKernel(ctx context.Context, image, kernel string, report api.Report) error
	// Commit creates an image from a disk that put writes to a file. from is the VM's name, and
	// the digest is that of the VM's image.
	Commit(ctx context.Context, name, digest, from string, report api.Report, put func(ctx context.Context, to string) error) (api.Image, error)
}

// Kernels is the service's interface to the kernel cache.
type Kernels interface {
	Get(ref string) (api.Kernel, error)
	// Default returns the pulled kernel, or an error of kind not found.
	Default() (api.Kernel, error)
	Pull(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error)
	// Boot returns the files to boot, with the agent in the initramfs.
	Boot(ctx context.Context, digest, agentPath string) (vmlinux, initramfs string, err error)
	// BootFull is Boot with the modules that programs in a guest may load, too.
	BootFull(ctx context.Context, digest, agentPath string) (vmlinux, initramfs string, err error)
}

// Limits are the maximum values of a request.
type Limits = records.Limits

// Memory is how much memory all running VMs together may have.
type Memory = records.Memory

// Defaults are the values of options that a request leaves unset.
type Defaults struct {
	Image       string
	Kernel      string // empty: the distribution's, pulled when missing
	Driver      string
	Init        string // empty: api.InitAuto
	Tools       string // empty: api.ToolsNone
	Isolated    bool   // a new VM's network is api.NetworkIsolated
	VCPUs       int
	MemoryBytes int64
	DiskBytes   int64
	Grace       time.Duration // from the shutdown request to the kill
	BootTimeout time.Duration // until the agent must have answered
	Files       hostfiles.Wanted
	// Apply adds to a request what the settings say about its profile and image; nil: nothing.
	Apply func(api.CreateVM) (api.CreateVM, error)
}

// Options configure a Service.
type Options struct {
	Paths    paths.Paths
	Store    Store
	Ops      *op.Manager
	Images   Images
	Kernels  Kernels
	Drivers  []driver.Driver
	Disks    []disk.Driver            // in order of preference
	Host     Host                     // what root makes for VMs; nil in user mode
	Ports    ports.Server             // serves published ports; may be nil
	Agent    string                   // path of the agent's binary
	Version  string                   // sent to agents
	Defaults func() (Defaults, error) // called for each request: settings change
	Limits   Limits
	// Memory returns how much memory all running VMs together may have. It is called at each
	// start; nil: no limit.
	Memory func() Memory
	// Watch is called for each log that a running VM's VMM writes, its own and that of
	// the console, and returns a function to call when the VM has ended. It bounds the log, and
	// calls looked after it has grown. May be nil.
	Watch func(log string, looked func()) (stop func())
	// Outcome returns the outcome of an operation of an earlier daemon that is not on a
	// VM; ok reports whether it is known. May be nil.
	Outcome func(left op.Unfinished) (result *api.Result, ok bool)
	// Again returns the plan of such an operation that can be repeated; ok reports whether it
	// can. May be nil.
	Again  func(left op.Unfinished) (plan op.Plan, ok bool)
	Logger *slog.Logger
}

// Service manages all VMs. It is the only writer of the store. Each of its parts answers the requests of
// one concern, and has its own state and lock.
type Service struct {
	*Queries
	*Creator
	*Starter
	*Stopper
	*suspend.Pauser
	*suspend.Suspender
	*Remover
	*Changer
	*change.Setter
	*Leases
	*access.Guests
	*observe.Observer
	*filesync.Syncer
	idle *idle.Watcher
	// Snapshots makes snapshots of VMs, and keeps them.
	Snapshots *snapshots.Snapshotter

	tasks     *tasks.Group
	table     *records.Table
	instances *instance.Instances
	machines  *machines.Machines
	ports     *ports.Ports
	disks     *disks.Disks
	inventory *reconcile.Inventory
	recovery  *reconcile.Recovery
	resumer   *resumer
	ops       *operations
	host      *hostSide
}

// New returns an empty service: call Recover.
func New(o Options) *Service {
	s := &Service{tasks: tasks.New()}
	s.table = records.New(records.Options{Paths: o.Paths, Store: o.Store, System: o.Host != nil, Memory: o.Memory, Logger: o.Logger})
	s.instances = instance.New(instance.Options{
		Paths: o.Paths, Version: o.Version, Watch: o.Watch, Logger: o.Logger,
		Room: func(n int64) error { return fsx.NeedSpace(o.Paths.VMs(), n) },
	}, s.tasks)
	if o.Host != nil {
		s.instances.DiskUsage = o.Host.DiskUsage
	}
	s.ports = ports.New(o.Ports, s.table, o.Logger)
	s.machines = machines.New(machines.Options{Paths: o.Paths, Drivers: o.Drivers, Host: o.Host, Ports: s.ports, Logger: o.Logger},
		s.instances, s.tasks, func(e *records.Entry) { s.autoRemove(e) })
	s.disks = disks.New(disks.Options{Paths: o.Paths, Images: o.Images, Drivers: o.Disks}, s.table)
	s.Guests = access.New(s.table, o.Paths)
	s.Syncer = filesync.New(s.table, func() (hostfiles.Wanted, error) {
		now, err := o.Defaults()
		return now.Files, err
	}, o.Logger)
	s.host = &hostSide{host: o.Host, disks: s.disks}
	s.Queries = &Queries{table: s.table, paths: o.Paths, disks: s.disks, host: s.host}
	s.Observer = observe.New(observe.Options{DiskUsage: s.Queries.diskUsage, Base: s.disks.Base}, s.table, s.tasks)
	s.plans(o)
	s.idle = idle.New(idle.Options{Table: s.table, Tasks: s.tasks, Sessions: s.Guests.Sessions, Suspend: s.Suspender.SuspendIdle, Logger: o.Logger})
	s.Queries.idle = s.idle
	s.inventory = reconcile.NewInventory(o.Host, o.Paths, s.table, s.machines, o.Logger)
	s.recovery = reconcile.New(reconcile.Options{
		Store: o.Store, Table: s.table, Machines: s.machines, Ports: s.ports, Inventory: s.inventory, Tasks: s.tasks,
		Resume: s.resumer.resume, AutoRemove: s.autoRemove, WatchLease: s.Leases.watch, Logger: o.Logger,
	})
	return s
}

// plans makes the parts of the service that have plans of operations.
func (s *Service) plans(o Options) {
	s.ops = &operations{manager: o.Ops, table: s.table, turns: turns.New(o.Limits.Starts), tasks: s.tasks, logger: o.Logger, over: func(e *records.Entry) {
		s.autoRemove(e)
		s.Leases.watch(e)
	}}
	s.Starter = &Starter{
		paths: o.Paths, images: o.Images, kernels: o.Kernels, agent: o.Agent, defaults: o.Defaults, logger: o.Logger,
		machines: s.machines, disks: s.disks, ports: s.ports, files: s.Syncer, host: s.host, ops: s.ops,
	}
	s.Stopper = &Stopper{defaults: o.Defaults, logger: o.Logger, table: s.table, host: s.host, ops: s.ops, starter: s.Starter}
	s.suspends(o)
	s.Remover = &Remover{
		paths: o.Paths, logger: o.Logger, tasks: s.tasks, table: s.table, machines: s.machines, ports: s.ports, host: s.host, ops: s.ops,
		stopper: s.Stopper, removing: map[*records.Entry]bool{},
	}
	s.Leases = &Leases{
		time: leaseTime, logger: o.Logger, tasks: s.tasks, table: s.table, remover: s.Remover,
		held: map[*records.Entry]int{}, looks: map[*records.Entry]int{},
	}
	s.Creator = &Creator{
		paths: o.Paths, images: o.Images, kernels: o.Kernels, defaults: o.Defaults, limits: o.Limits,
		table: s.table, machines: s.machines, disks: s.disks, ports: s.ports, ops: s.ops, starter: s.Starter, remover: s.Remover,
		suspender: s.Suspender, beginner: &snapshots.Beginner{Store: s.Snapshots.Store, Disks: s.disks, Saved: s.Suspender.Saved},
	}
	s.Changer = &Changer{paths: o.Paths, images: o.Images, table: s.table, disks: s.disks, ops: s.ops}
	s.Setter = &change.Setter{Table: s.table, Ports: s.ports, Check: func(v api.VM) error { return o.Limits.Check(v, o.Paths.Data) },
		CanSuspend: s.Suspender.Supports}
	s.resumer = &resumer{
		outcomeOf: o.Outcome, again: o.Again, logger: o.Logger, tasks: s.tasks, table: s.table, ports: s.ports, ops: s.ops,
		creator: s.Creator, starter: s.Starter, stopper: s.Stopper, suspender: s.Suspender, remover: s.Remover, changer: s.Changer,
		snapshotter: s.Snapshots,
	}
}

// suspends makes the parts of the service that stop VMs which continue later.
func (s *Service) suspends(o Options) {
	begins := suspend.Operations{Table: s.table, Plan: s.ops.plan, Launch: s.ops.launch}
	s.Pauser = &suspend.Pauser{Operations: begins}
	s.Suspender = &suspend.Suspender{Options: suspend.Options{
		Operations: begins, Paths: o.Paths, Turns: s.ops.turns, Ports: s.ports, Disks: s.disks, Machines: s.machines, Logger: o.Logger,
		Attach: s.host.attachSteps, Release: s.host.releaseSteps, Start: s.Starter.Start, Changed: snapshots.Changed,
		Spec: func(ctx context.Context, drv driver.Driver, e *records.Entry, report api.Report) (driver.Spec, error) {
			return s.Starter.spec(ctx, drv, e, report, s.ops.parts.begin(e))
		},
	}}
	s.Snapshots = &snapshots.Snapshotter{Options: snapshots.Options{
		Operations: begins, Store: snapshots.In(o.Paths.Snapshots()), Disks: s.disks, Logger: o.Logger,
	}}
	s.Queries.snapshots = s.Snapshots.Store
	s.Starter.suspender, s.Guests.Wake = s.Suspender, s.Suspender.Wake
}

// Recover restores the state that the last daemon left (reconcile.Recovery).
func (s *Service) Recover(ctx context.Context) error {
	if err := s.recovery.Recover(ctx); err != nil {
		return err
	}
	s.tasks.Go(s.idle.Run)
	return nil
}

// Detach closes the links to all agents permanently. Operations must have ended.
func (s *Service) Detach() { s.instances.Detach() }

// Close releases all machines, which keep running. Operations must have ended.
func (s *Service) Close() {
	s.tasks.Stop()
	s.instances.AwaitLinks()
	s.tasks.Wait()
}

// Publish changes which ports of a VM are published: at once if it runs or is suspended, otherwise from
// its next start on.
func (s *Service) Publish(ctx context.Context, ref string, req api.PublishVM) (api.VM, error) {
	return s.ports.Publish(ctx, ref, req)
}

// Leaks compares the host's objects with the known VMs, in both directions.
func (s *Service) Leaks(ctx context.Context) (api.Leaks, error) { return s.inventory.Leaks(ctx) }
