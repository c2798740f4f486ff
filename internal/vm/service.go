package vm

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/host/fsx"
	"banger/internal/idref"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/queue"
)

// Store stores VMs and unfinished operations. internal/store implements it.
type Store interface {
	AddVM(ctx context.Context, v api.VM) error
	PutVM(ctx context.Context, v api.VM) error
	// SettleVM is PutVM, and settles an operation in the same transaction.
	SettleVM(ctx context.Context, v api.VM, operation string, how op.Settled) error
	// AnswerVM is PutVM, and records an answer to a request in the same transaction.
	AnswerVM(ctx context.Context, v api.VM, request string, answer []byte) error
	DeleteVM(ctx context.Context, id string) error
	VMs(ctx context.Context) ([]api.VM, error)
	UnfinishedOperations(ctx context.Context) ([]op.Unfinished, error)
}

// Images is the service's interface to the image cache.
type Images interface {
	Get(ref string) (api.Image, error)
	CanPull(name string) bool
	Pull(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error)
	// Disk returns the image's raw file of exactly that size, which is created once.
	Disk(ctx context.Context, digest string, size int64, report api.Report) (string, error)
	// Base is Disk for an existing file: it creates none, and returns an error of kind not found
	// if it is missing.
	Base(digest string, size int64) (string, error)
	// CheckName refuses text that is not a valid name of an image.
	CheckName(name string) error
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

// Defaults are the values of options that a request leaves unset.
type Defaults struct {
	Image       string
	Kernel      string // empty: the distribution's, pulled when missing
	Driver      string
	Init        string // empty: api.InitAuto
	VCPUs       int
	MemoryBytes int64
	DiskBytes   int64
	Grace       time.Duration // from the shutdown request to the kill
	BootTimeout time.Duration // until the agent must have answered
}

// Limits are the maximum values of a request.
type Limits struct {
	VCPUs       int
	MemoryBytes int64
	Starts      int // how many VMs may boot at the same time; the others wait
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
	Ports    Ports                    // serves published ports; may be nil
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

// Service manages all VMs. It is the only writer of the store.
type Service struct {
	Options
	ctx  context.Context // ends with the service
	stop context.CancelFunc
	wg   sync.WaitGroup

	answer     time.Duration       // answerTime; tests have less
	lease      time.Duration       // leaseTime; tests have less
	stallEvery time.Duration       // stallEvery; tests have less
	room       func(n int64) error // says that the disks' file system has no n bytes free
	linking    context.Context     // ends when links to agents are given up
	unlink     context.CancelFunc
	links      sync.WaitGroup
	starts     *queue.Queue // of those that boot

	keys sync.Mutex // held while a host key is read or made

	mu  sync.Mutex        // held over no call of the store's, nor any other that waits
	vms map[string]*entry // by id
}

// entry is a VM in memory: its record in the store, and the operation in progress on it. Service.mu
// guards it.
type entry struct {
	id  string     // never changes
	row sync.Mutex // held while what is recorded changes; taken before Service.mu

	vm    api.VM
	fresh bool      // it is being recorded for the first time: nobody can ask for it yet
	busy  string    // kind of the operation that works on it, "" for none
	op    *op.Op    // that operation, once it is recorded
	turn  func()    // releases its place among those that boot; nil if it has none
	run   *instance // nil while no VMM runs
	last  *instance // the newest run, also when it has ended

	removing bool // autoRemove is at it
	leases   int  // how many hold its lease
	lost     int  // raised with each change of leases and each look at them

	found chan struct{} // closed when its machine is recovered; nil if that took no waiting

	parts []api.StepTiming // of the newest start's vmm step
}

// New returns an empty service: call Recover.
func New(o Options) *Service {
	ctx, stop := context.WithCancel(context.Background())
	linking, unlink := context.WithCancel(ctx)
	room := func(n int64) error { return fsx.NeedSpace(o.Paths.VMs(), n) }
	return &Service{Options: o, ctx: ctx, room: room, stop: stop, linking: linking, unlink: unlink, starts: queue.New(o.Limits.Starts), answer: answerTime, lease: leaseTime, stallEvery: stallEvery, vms: map[string]*entry{}}
}

// Detach closes the links to all agents permanently. Operations must have ended.
func (s *Service) Detach() {
	s.unlink()
	s.links.Wait()
}

// Close releases all machines, which keep running. Operations must have ended.
func (s *Service) Close() {
	s.stop()
	s.links.Wait()
	s.wg.Wait()
}

// List returns all VMs, oldest first.
func (s *Service) List(context.Context) ([]api.VM, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]api.VM, 0, len(s.vms))
	for _, e := range s.vms {
		if !e.fresh {
			all = append(all, e.view())
		}
	}
	slices.SortFunc(all, func(a, b api.VM) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// Find returns the record of one VM, by id or name.
func (s *Service) Find(ref string) (api.VM, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(ref)
	if err != nil {
		return api.VM{}, err
	}
	return e.view(), nil
}

// Show returns one VM, by id or name, with its disk usage and address.
func (s *Service) Show(ctx context.Context, ref string) (api.VM, error) {
	v, err := s.Find(ref)
	if err != nil {
		return api.VM{}, err
	}
	v.DiskUsage = s.diskUsage(ctx, v)
	s.lookWhetherItStands(ctx, &v)
	if s.Host != nil && v.PID > 0 && v.Network != api.NetworkNone {
		v.Address = s.Host.Address(ctx, v)
	}
	return v, nil
}

// ShowAll returns all VMs with their disk usage.
func (s *Service) ShowAll(ctx context.Context) ([]api.VM, error) {
	all, err := s.List(ctx)
	for i, v := range all {
		all[i].DiskUsage = s.diskUsage(ctx, v)
	}
	return all, err
}

// diskUsage returns how full a VM's disk is: the size that its file occupies, or device-mapper's
// usage if that has it. It returns nil if neither is known.
func (s *Service) diskUsage(ctx context.Context, v api.VM) *api.DiskUsage {
	if s.Host != nil && v.PID > 0 {
		if u, err := s.Host.DiskUsage(ctx, v); err == nil && u != nil {
			return u
		}
	}
	used := fsx.Usage(s.diskPath(v.ID))
	if used == 0 {
		return nil
	}
	return &api.DiskUsage{UsedBytes: used, TotalBytes: v.DiskSize()}
}

func (s *Service) diskPath(id string) string { return filepath.Join(s.Paths.VM(id), paths.VMDisk) }

// view returns the VM in the form that clients see.
func (e *entry) view() api.VM {
	v := e.vm
	if e.run != nil {
		v.PID = e.run.machine.PID()
		if e.run.stalled.Load() && v.State == api.StateRunning {
			v.State, v.Reason = api.StatePaused, "the disk of this host is full"
		}
		if e.run.diskTrouble != "" && v.State == api.StateRunning {
			v.Reason = e.run.diskTrouble
		}
	}
	return v
}

// find looks a VM up by id, name, or the beginning of its id. The caller holds mu.
func (s *Service) find(ref string) (*entry, error) {
	if e, ok := s.vms[ref]; ok && !e.fresh {
		return e, nil
	}
	var all []*entry
	for _, e := range s.vms {
		switch {
		case e.fresh:
		case e.vm.Name == ref:
			return e, nil
		default:
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return strings.Compare(a.id, b.id) })
	ids := make([]string, len(all))
	for i, e := range all {
		ids[i] = e.id
	}
	at, err := idref.Find("VMs", ref, ids, func(i int) string { return idref.Label(ids[i], all[i].vm.Name) })
	if err != nil {
		return nil, api.AsError(err).WithHint("banger vm list")
	}
	if at >= 0 {
		return all[at], nil
	}
	return nil, api.Errorf(api.KindNotFound, "no VM named %.80q", ref).WithHint("banger vm list")
}

// InUse returns the names of the VMs that use an image or kernel. A VM for which that is unknown may
// use any.
func (s *Service) InUse(digest string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, e := range s.vms {
		unknown := e.damaged() && (e.vm.ImageDigest == "" || e.vm.KernelDigest == "")
		if e.vm.ImageDigest == digest || e.vm.KernelDigest == digest || unknown {
			names = append(names, e.vm.Name)
		}
	}
	slices.Sort(names)
	return names
}

// DisksInUse returns the sizes of the image's disks that VMs are made from:
// copy-on-write disks need their base as long as they exist. known is false while that is unknown for
// a VM.
func (s *Service) DisksInUse(digest string) (sizes []int64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.vms {
		if e.damaged() && (e.vm.ImageDigest == "" || e.vm.DiskBytes == 0) {
			return nil, false
		}
		if e.vm.ImageDigest == digest {
			sizes = append(sizes, e.vm.DiskBytes)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), true
}

// begin claims a VM for an operation: one at a time works on it. The check
// runs under the lock and may refuse.
func (s *Service) begin(ref, kind string, check func(e *entry) error) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	if e.busy != "" {
		return nil, s.refuseBusy(e, kind)
	}
	if err := s.refuseDamaged(e, kind); err != nil {
		return nil, err
	}
	if check != nil {
		if err := check(e); err != nil {
			return nil, err
		}
	}
	e.busy = kind
	return e, nil
}

// refuseBusy returns the error of an operation on a VM that another one is working on. The
// caller holds mu.
func (s *Service) refuseBusy(e *entry, kind string) error {
	err := api.Errorf(api.KindConflict, "cannot %s VM %s: it is busy (%s)", api.ActionOf(kind).Verb, e.vm.Name, api.ActionOf(e.busy).Doing)
	if e.busy == kindRecover && s.Host != nil {
		return err.WithHint("wait until that has ended, then try again; or: banger vm kill %s   (ends whatever runs for the VM)", e.vm.Name)
	}
	return err.WithHint("wait until that has ended, then try again")
}

func (s *Service) release(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.busy, e.op = "", nil
	if e.recovering() {
		e.busy = kindRecover
	}
}

// launch starts an operation on a VM that begin has claimed for it.
func (s *Service) launch(ctx context.Context, e *entry, plan op.Plan) (*op.Op, error) {
	o, err := s.Ops.Start(ctx, plan)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.busy == plan.Kind {
		e.op = o
	}
	return o, nil
}

// autoDriver stands for the first driver that works on this host.
const autoDriver = "auto"

// chooseDriver returns the name of an existing driver.
func (s *Service) chooseDriver(ctx context.Context, name string) (string, error) {
	if name != autoDriver {
		_, err := s.driverOf(name)
		return name, err
	}
	for _, d := range s.Drivers[:len(s.Drivers)-1] {
		if _, err := d.Probe(ctx, "", ""); err == nil {
			return d.Name(), nil
		}
	}
	// What the last one lacks is reported when it starts a VM.
	return s.Drivers[len(s.Drivers)-1].Name(), nil
}

// driverOf returns the driver by name.
func (s *Service) driverOf(name string) (driver.Driver, error) {
	var known []string
	for _, d := range s.Drivers {
		if d.Name() == name {
			return d, nil
		}
		known = append(known, d.Name())
	}
	return nil, api.Errorf(api.KindInvalid, "no driver named %.80q", name).WithHint("--driver %s", strings.Join(known, "   or   --driver "))
}
