package vm

import (
	"cmp"
	"context"
	"errors"
	"time"

	"banger/api"
	"banger/internal/imageconfig"
	"banger/internal/label"
	"banger/internal/op"
	"banger/internal/paths"
	"banger/internal/vm/disks"
	"banger/internal/vm/machines"
	"banger/internal/vm/ports"
	"banger/internal/vm/records"
	"banger/internal/vm/snapshots"
	"banger/internal/vm/suspend"
)

// Creator creates VMs.
type Creator struct {
	paths     paths.Paths
	images    Images
	kernels   Kernels
	defaults  func() (Defaults, error)
	limits    Limits
	table     *records.Table
	machines  *machines.Machines
	disks     *disks.Disks
	ports     *ports.Ports
	ops       *operations
	starter   *Starter
	remover   *Remover
	suspender *suspend.Suspender
	beginner  *snapshots.Beginner
}

// Create creates a VM, and starts it if requested. It refuses an invalid request before anything is
// touched.
func (c *Creator) Create(ctx context.Context, req api.CreateVM) (*op.Op, error) {
	v, err := c.resolve(ctx, req)
	if err != nil {
		return nil, err
	}
	kind := records.KindCreate
	if req.Start {
		kind = records.KindRun
	}
	e, err := c.table.Add(ctx, v, req.Name == "", kind, req.Force)
	if err != nil {
		return nil, err
	}
	o, err := c.ops.launch(ctx, e, c.createPlan(e, kind))
	if err != nil {
		return nil, errors.Join(err, e.ForgetCreation(context.WithoutCancel(ctx)))
	}
	return o, nil
}

// resolve fills in defaults and checks the request against this host.
func (c *Creator) resolve(ctx context.Context, req api.CreateVM) (api.VM, error) {
	if req.From != "" {
		return c.resolveFrom(ctx, req)
	}
	defaults, err := c.defaults()
	if err != nil {
		return api.VM{}, err
	}
	if defaults.Apply != nil {
		if req, err = defaults.Apply(req); err != nil {
			return api.VM{}, err
		}
	}
	v := requested(req, defaults)
	if err := checkRequested(v); err != nil {
		return v, err
	}
	if err := c.limits.Check(v, c.paths.Data); err != nil {
		return v, err
	}
	if v.Publish, err = ports.Check(req.Publish); err != nil {
		return v, err
	}
	if req.Start {
		if err := c.ports.CheckFree(ctx, v.Publish); err != nil {
			return v, err
		}
	}
	if v.Driver, err = c.machines.ChooseDriver(ctx, v.Driver); err != nil {
		return v, err
	}
	err = c.chooseFiles(&v, req.Kernel != "", defaults)
	return v, err
}

// chooseFiles sets the image and the kernel of a new VM as far as they are in the caches. keepsKernel: the
// request names the kernel.
func (c *Creator) chooseFiles(v *api.VM, keepsKernel bool, defaults Defaults) error {
	img, err := c.images.Get(v.Image)
	switch {
	case err == nil:
		err = c.useImage(v, img, defaults)
	case api.KindOf(err) == api.KindNotFound && c.images.CanPull(v.Image):
		err = nil
	}
	if err != nil {
		return err
	}
	if !keepsKernel && img.Kernel != "" {
		v.Kernel = img.Kernel // rather than that of the settings: the image was made for it
	}
	if v.Kernel == "" {
		return nil
	}
	k, err := c.kernels.Get(v.Kernel)
	if err == nil {
		v.Kernel, v.KernelDigest = k.Release, k.Digest
	}
	return err
}

// requested returns a new VM as it was asked for.
func requested(req api.CreateVM, defaults Defaults) api.VM {
	v := api.VM{
		ID: op.NewID(), Name: req.Name, State: api.StateCreating,
		Image: cmp.Or(req.Image, defaults.Image), Kernel: cmp.Or(req.Kernel, defaults.Kernel),
		Driver:      cmp.Or(req.Driver, defaults.Driver),
		VCPUs:       cmp.Or(req.VCPUs, defaults.VCPUs),
		MemoryBytes: cmp.Or(req.MemoryBytes, defaults.MemoryBytes),
		DiskBytes:   req.DiskBytes, // 0 until the image is known, if nobody asked for a size
		Init:        cmp.Or(req.Init, defaults.Init, api.InitAuto),
		Tools:       cmp.Or(req.Tools, defaults.Tools),
		Labels:      req.Labels,
		Network:     network(req.Network, defaults), AutoRemove: req.AutoRemove, Leased: req.Lease, Background: req.Background, CreatedAt: time.Now(),
	}
	if v.Tools == api.ToolsNone {
		v.Tools = ""
	}
	return v
}

// network returns the Network of a new VM. That of a VM with NAT is empty, as it was before
// there was a choice.
func network(requested string, defaults Defaults) string {
	if requested == "" && defaults.Isolated {
		return api.NetworkIsolated
	}
	return api.RecordedNetwork(requested)
}

// checkRequested refuses a request that no host can carry out.
func checkRequested(v api.VM) error {
	if err := imageconfig.CheckBackground(v.Background); err != nil {
		return err
	}
	if err := label.Check(v.Labels); err != nil {
		return err
	}
	if v.Network != "" && v.Network != api.NetworkIsolated && v.Network != api.NetworkNone {
		return api.Errorf(api.KindInvalid, "unknown network %.40q", v.Network).WithHint("leave it out, or use one of: --network nat, --network isolated, --network none")
	}
	switch {
	case v.Tools == "":
	case v.Tools != api.ToolsMise:
		return api.Errorf(api.KindInvalid, "unknown program for tools: %.40q", v.Tools).WithHint("use --tools mise, or none")
	case v.Network != "":
		return api.Errorf(api.KindInvalid, "cannot set up tools in a VM that reaches nothing").WithHint("leave out --network %s, or add --tools none", v.Network)
	}
	if v.Leased && !v.AutoRemove {
		return api.Errorf(api.KindInvalid, "cannot lease a VM that is not removed automatically")
	}
	if err := imageconfig.CheckInit(v.Init); err != nil {
		return err
	}
	if v.Name != "" {
		return records.CheckName(v.Name)
	}
	return nil
}

const mib = 1 << 20

func checkFits(size int64, img api.Image) error {
	if size >= img.DiskBytes {
		return nil
	}
	return api.Errorf(api.KindInvalid, "cannot fit the image in a disk of %d MiB: it needs at least %d MiB", size/mib, img.DiskBytes/mib).
		WithHint("choose --disk %dM or more", img.DiskBytes/mib)
}

// useImage sets a VM's image, which has to fit and to be valid. Without a requested size, the VM gets
// a disk of the default size, or of the image's.
func useImage(v *api.VM, img api.Image, defaults Defaults) error {
	config, err := imageconfig.ForVM(v.Image, img.Config)
	if err != nil {
		return err
	}
	v.ImageDigest, v.Init = img.Digest, imageconfig.ChooseInit(v.Init, img.Config)
	if config != nil && (v.Init == api.InitSystemd && imageconfig.BootsItself(*config) || imageconfig.RunsAs(*config, v.Init)) {
		config.Entrypoint, config.Cmd = nil, nil // it runs already: it is process 1
	}
	v.ImageConfig = config
	if v.DiskBytes == 0 {
		v.DiskBytes = max(defaults.DiskBytes, img.DiskBytes)
	}
	return checkFits(v.DiskBytes, img)
}

// useImage is the function of that name. A disk over a file that is used in place begins with the size of that
// file, as no copy of it is made in another size; it grows to its own size when the VM starts, and the file
// system in it, too. In system mode a disk grows by a copy, which is made only for a size that was asked for.
func (c *Creator) useImage(v *api.VM, img api.Image, defaults Defaults) error {
	if img.Registered == nil {
		return useImage(v, img, defaults)
	}
	if !c.starter.host.userMode() {
		defaults.DiskBytes = 0
	}
	if err := useImage(v, img, defaults); err != nil {
		return err
	}
	if v.DiskBytes > img.DiskBytes {
		v.GrownBytes = v.DiskBytes
	}
	v.DiskBytes = img.DiskBytes
	return nil
}

// createPlan returns the plan of vm.create or vm.run. Every step reads the record, so that the plan
// can be resumed at any of them.
func (c *Creator) createPlan(e *records.Entry, kind string) op.Plan {
	if e.Record().Origin != nil {
		return c.ops.plan(e, kind, c.fromSteps(e, kind))
	}
	steps := []op.Step{
		{Name: "kernel", Do: c.ensureKernel(e), Undo: c.undoCreate(e)},
		{Name: "image", Do: c.ensureImage(e)},
		{Name: "disk", Do: c.makeDisk(e)},
	}
	if kind == records.KindRun {
		steps = append(steps, c.starter.steps(e)...)
	} else {
		steps = append(steps, ready(e, api.StateStopped))
	}
	return c.ops.plan(e, kind, steps)
}

// ready ends the creation of a VM that is not started.
func ready(e *records.Entry, as api.State) op.Step {
	return op.Step{Name: "ready", Do: func(ctx context.Context, _ api.Report) error {
		return e.Conclude(ctx, op.SettledDone, func(v *api.VM) { v.State = as })
	}}
}

// undoCreate undoes what the undoing of later steps has left of a creation, and forgets
// the VM last: while its VMM runs, or the host holds something for it, its disk and its
// slot are in use. Such a VM stays, as failed, so that it can be deleted later.
func (c *Creator) undoCreate(e *records.Entry) func(context.Context) error {
	return func(ctx context.Context) error {
		err := c.remover.removeAll(ctx, e)
		if err == nil {
			return nil
		}
		e.Note(context.WithoutCancel(ctx), func(v *api.VM) {
			v.State, v.Reason = api.StateFailed, "its creation could not be undone: "+err.Error()
		})
		name := e.Record().Name
		return op.Keep(api.Errorf(api.KindOf(err), "VM %s could not be removed, and still exists: %w", name, err).
			WithHint("banger vm delete --force %s", name))
	}
}

func (c *Creator) ensureKernel(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		v := e.Record()
		if v.KernelDigest != "" {
			return c.pinKernel(v)
		}
		k, err := c.kernels.Default()
		if api.KindOf(err) == api.KindNotFound {
			k, err = c.kernels.Pull(ctx, api.PullKernel{}, report)
		}
		if err != nil {
			return err
		}
		if err := e.Update(ctx, func(v *api.VM) { v.Kernel, v.KernelDigest = k.Release, k.Digest }); err != nil {
			return err
		}
		return c.pinKernel(e.Record())
	}
}

// pinKernel fails if the kernel was deleted before this VM used it. A deletion asks which kernels are
// in use, and locks the cache until it is done; a later deletion sees this VM.
func (c *Creator) pinKernel(v api.VM) error {
	_, err := c.kernels.Get(v.KernelDigest)
	if api.KindOf(err) == api.KindNotFound {
		return api.Errorf(api.KindNotFound, "kernel %s was deleted while VM %s was being created", v.Kernel, v.Name).WithHint("banger kernel list")
	}
	return err
}

func (c *Creator) ensureImage(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		v := e.Record()
		if v.ImageDigest != "" {
			return nil
		}
		img, err := c.images.Get(v.Image)
		if api.KindOf(err) == api.KindNotFound {
			img, err = c.images.Pull(ctx, api.PullImage{Name: v.Image}, report)
		}
		if err != nil {
			return err
		}
		defaults, err := c.defaults()
		if err != nil {
			return err
		}
		if err := c.useImage(&v, img, defaults); err != nil {
			return err
		}
		return e.Update(ctx, func(to *api.VM) {
			to.ImageDigest, to.ImageConfig, to.Init, to.DiskBytes, to.GrownBytes = v.ImageDigest, v.ImageConfig, v.Init, v.DiskBytes, v.GrownBytes
		})
	}
}

func (c *Creator) makeDisk(e *records.Entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		// A deletion asks which images are in use, and locks the cache until it is done. Wait here
		// for one that asked before this VM used its image; making the disk notices what it has
		// deleted.
		_, _ = c.images.Get(e.Record().ImageDigest)
		return c.disks.Make(ctx, e, report)
	}
}
