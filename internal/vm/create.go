package vm

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/host/fsx"
	"banger/internal/imageconfig"
	"banger/internal/op"
)

// The kinds of operations on VMs.
const (
	kindCreate  = "vm.create"
	kindRun     = "vm.run" // create and start
	kindStart   = "vm.start"
	kindStop    = "vm.stop"
	kindRestart = "vm.restart"
	kindKill    = "vm.kill"
	kindCommit  = "vm.commit"
	kindPrune   = "vm.prune"
)

// KindDelete is the kind of the operations that delete a VM.
const KindDelete = "vm.delete"

const (
	mib = 1 << 20
	// minMemory is the memory, in bytes, that the default kernel and agent need to boot.
	minMemory = 128 * mib
	// maxDisk is in whole MiB: ext4 with 4 KiB blocks, in the guest and on the host, ends
	// one block before 16 TiB (ext4(5)).
	maxDisk = 16<<40 - mib
)

// Create creates a VM, and starts it if requested. It refuses an invalid request before anything is
// touched.
func (s *Service) Create(ctx context.Context, req api.CreateVM) (*op.Op, error) {
	v, err := s.resolve(ctx, req)
	if err != nil {
		return nil, err
	}
	kind := kindCreate
	if req.Start {
		kind = kindRun
	}
	e, err := s.add(ctx, v, req.Name == "", kind, req.Force)
	if err != nil {
		return nil, err
	}
	o, err := s.launch(ctx, e, s.createPlan(e, kind))
	if err != nil {
		return nil, errors.Join(err, s.forgetCreation(context.WithoutCancel(ctx), e))
	}
	return o, nil
}

// resolve fills in defaults and checks the request against this host.
func (s *Service) resolve(ctx context.Context, req api.CreateVM) (api.VM, error) {
	defaults, err := s.Defaults()
	if err != nil {
		return api.VM{}, err
	}
	v := api.VM{
		ID: op.NewID(), Name: req.Name, State: api.StateCreating,
		Image: cmp.Or(req.Image, defaults.Image), Kernel: cmp.Or(req.Kernel, defaults.Kernel),
		Driver:      cmp.Or(req.Driver, defaults.Driver),
		VCPUs:       cmp.Or(req.VCPUs, defaults.VCPUs),
		MemoryBytes: cmp.Or(req.MemoryBytes, defaults.MemoryBytes),
		DiskBytes:   req.DiskBytes, // 0 until the image is known, if nobody asked for a size
		Init:        cmp.Or(req.Init, defaults.Init, api.InitAuto),
		Network:     req.Network, AutoRemove: req.AutoRemove, Leased: req.Lease, Background: req.Background, CreatedAt: time.Now(),
	}
	if err := imageconfig.CheckBackground(v.Background); err != nil {
		return v, err
	}
	if v.Network != "" && v.Network != api.NetworkNone {
		return v, api.Errorf(api.KindInvalid, "unknown network %.40q", v.Network).WithHint("leave it out, or use: --network none")
	}
	if v.Leased && !v.AutoRemove {
		return v, api.Errorf(api.KindInvalid, "cannot lease a VM that is not removed automatically")
	}
	if err := checkInit(v.Init); err != nil {
		return v, err
	}
	if v.Name != "" {
		if err := CheckName(v.Name); err != nil {
			return v, err
		}
	}
	if err := s.checkSizes(v); err != nil {
		return v, err
	}
	if v.Publish, err = checkPublished(req.Publish); err != nil {
		return v, err
	}
	if req.Start && s.Ports != nil && len(v.Publish) > 0 {
		if err := s.whoPublishes("", v.Publish, func() error { return s.Ports.Check(ctx, v.Publish) }); err != nil {
			return v, err
		}
	}
	if v.Driver, err = s.chooseDriver(ctx, v.Driver); err != nil {
		return v, err
	}
	if v.Kernel != "" {
		k, err := s.Kernels.Get(v.Kernel)
		if err != nil {
			return v, err
		}
		v.Kernel, v.KernelDigest = k.Release, k.Digest
	}
	img, err := s.Images.Get(v.Image)
	switch {
	case err == nil:
		return v, useImage(&v, img, defaults)
	case api.KindOf(err) == api.KindNotFound && s.Images.CanPull(v.Image):
		return v, nil
	}
	return v, err
}

func (s *Service) checkSizes(v api.VM) error {
	if v.VCPUs < 1 || v.VCPUs > s.Limits.VCPUs {
		return api.Errorf(api.KindInvalid, "cannot give a VM %d vCPUs: this host allows 1 to %d", v.VCPUs, s.Limits.VCPUs).
			WithHint("choose a smaller --vcpu")
	}
	if v.MemoryBytes < minMemory || v.MemoryBytes > s.Limits.MemoryBytes {
		return api.Errorf(api.KindInvalid, "cannot give a VM %d MiB of memory: this host allows %d to %d MiB",
			v.MemoryBytes/mib, minMemory/mib, s.Limits.MemoryBytes/mib).WithHint("choose another --memory, such as 1G")
	}
	if v.MemoryBytes%mib != 0 || v.DiskBytes%mib != 0 {
		return api.Errorf(api.KindInvalid, "cannot use a size that is not a whole number of MiB").WithHint("sizes look like 512M, 4G or 1536MiB")
	}
	if v.DiskBytes != 0 && v.DiskBytes < mib || v.DiskBytes > maxDisk {
		return api.Errorf(api.KindInvalid, "cannot create a disk of %d MiB: it must be smaller than 16 TiB", v.DiskBytes/mib).
			WithHint("choose another --disk, such as 8G")
	}
	return fsx.NeedLength(s.Paths.Data, v.DiskBytes)
}

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
	v.ImageDigest, v.Init = img.Digest, chooseInit(v.Init, img.Config)
	if config != nil && (v.Init == api.InitSystemd && bootsItself(*config) || runsAs(*config, v.Init)) {
		config.Entrypoint, config.Cmd = nil, nil // it runs already: it is process 1
	}
	v.ImageConfig = config
	if v.DiskBytes == 0 {
		v.DiskBytes = max(defaults.DiskBytes, img.DiskBytes)
	}
	return checkFits(v.DiskBytes, img)
}

// add records a new VM, under a generated name if generate is set. An operation of that kind has it
// from the first moment on: no other operation can begin on it.
func (s *Service) add(ctx context.Context, v api.VM, generate bool, kind string, force bool) (*entry, error) {
	for tries := 0; ; tries++ {
		if generate {
			v.Name = randomName()
			if tries > 3 {
				v.Name += "-" + v.ID[:4]
			}
		}
		e, err := s.reserve(v, kind, force)
		if err != nil {
			return nil, err
		}
		if err = s.Store.AddVM(ctx, s.get(e)); err == nil {
			s.mu.Lock()
			e.fresh = false
			s.mu.Unlock()
			return e, nil
		}
		s.drop(e)
		if !generate || api.KindOf(err) != api.KindExists || tries > 5 {
			return nil, err
		}
	}
}

// reserve gives a new VM its slot. Its memory, image and kernel are in use from then on. Requests
// cannot find the VM yet.
func (s *Service) reserve(v api.VM, kind string, force bool) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == kindRun {
		if err := s.checkMemory(v.ID, "", v.MemoryBytes, force); err != nil {
			return nil, err
		}
	}
	slot, err := s.takeSlot()
	if err != nil {
		return nil, err
	}
	v.Slot = slot
	e := &entry{id: v.ID, vm: v, fresh: true, busy: kind}
	s.vms[v.ID] = e
	return e, nil
}

func (s *Service) drop(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.vms, e.id)
}

// forget removes a VM from the store and from memory.
func (s *Service) forget(ctx context.Context, e *entry) error {
	e.row.Lock()
	defer e.row.Unlock()
	if err := s.Store.DeleteVM(ctx, e.id); err != nil {
		return err
	}
	s.drop(e)
	return nil
}

// forgetCreation is forget for a VM of which nothing was created. If it cannot be removed because
// the disk is full, the VM becomes failed, so that it can be deleted.
func (s *Service) forgetCreation(ctx context.Context, e *entry) error {
	err := s.forget(ctx, e)
	if err != nil {
		s.note(ctx, e, func(v *api.VM) { v.State, v.Reason = api.StateFailed, "its creation could not be recorded" })
	}
	return err
}

// createPlan returns the plan of vm.create or vm.run. Every step reads the record, so that the plan
// can be resumed at any of them.
func (s *Service) createPlan(e *entry, kind string) op.Plan {
	steps := []op.Step{
		{Name: "kernel", Do: s.ensureKernel(e), Undo: s.undoCreate(e)},
		{Name: "image", Do: s.ensureImage(e)},
		{Name: "disk", Do: s.makeDisk(e)},
	}
	if kind == kindRun {
		steps = append(steps, s.startSteps(e)...)
	} else {
		steps = append(steps, op.Step{Name: "ready", Do: func(ctx context.Context, _ api.Report) error {
			return s.conclude(ctx, e, op.SettledDone, func(v *api.VM) { v.State = api.StateStopped })
		}})
	}
	return s.plan(e, kind, steps)
}

// undoCreate undoes what the undoing of later steps has left of a creation, and forgets
// the VM last: while its VMM runs, or the host holds something for it, its disk and its
// slot are in use. Such a VM stays, as failed, so that it can be deleted later.
func (s *Service) undoCreate(e *entry) func(context.Context) error {
	return func(ctx context.Context) error {
		err := s.removeAll(ctx, e)
		if err == nil {
			return nil
		}
		s.note(context.WithoutCancel(ctx), e, func(v *api.VM) {
			v.State, v.Reason = api.StateFailed, "its creation could not be undone: "+err.Error()
		})
		name := s.get(e).Name
		return op.Keep(api.Errorf(api.KindOf(err), "VM %s could not be removed, and still exists: %w", name, err).
			WithHint("banger vm delete --force %s", name))
	}
}

// plan wraps steps on one VM into a plan.
func (s *Service) plan(e *entry, kind string, steps []op.Step) op.Plan {
	return op.Plan{
		Kind: kind, Target: e.id, Steps: steps,
		FreesSpace: op.Ends(kind),
		Ended: func(*op.Op) {
			s.endTurn(e)
			s.release(e)
			s.autoRemove(e)
			s.watchLease(e)
		},
		Result: func(o *op.Op) *api.Result {
			s.recordTiming(e, o)
			return s.resultOf(e)
		},
	}
}

// resultOf returns the result of an operation on a VM.
func (s *Service) resultOf(e *entry) *api.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := e.view()
	return &api.Result{VM: &v}
}

// recordTiming records how long the steps of a start took.
func (s *Service) recordTiming(e *entry, o *op.Op) {
	if s.get(e).State != api.StateRunning {
		return
	}
	timing := s.withParts(e, withoutTurn(o.Timing()))
	err := s.update(context.WithoutCancel(s.ctx), e, func(v *api.VM) { v.Timing = timing })
	if err != nil {
		s.Logger.Error("cannot record an operation's timing", "vm", e.id, "error", err)
	}
}

func (s *Service) ensureKernel(e *entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		v := s.get(e)
		if v.KernelDigest != "" {
			return s.pinKernel(v)
		}
		k, err := s.Kernels.Default()
		if api.KindOf(err) == api.KindNotFound {
			k, err = s.Kernels.Pull(ctx, api.PullKernel{}, report)
		}
		if err != nil {
			return err
		}
		if err := s.update(ctx, e, func(v *api.VM) { v.Kernel, v.KernelDigest = k.Release, k.Digest }); err != nil {
			return err
		}
		return s.pinKernel(s.get(e))
	}
}

// pinKernel fails if the kernel was deleted before this VM used it. A deletion asks which kernels are
// in use, and locks the cache until it is done; a later deletion sees this VM.
func (s *Service) pinKernel(v api.VM) error {
	_, err := s.Kernels.Get(v.KernelDigest)
	if api.KindOf(err) == api.KindNotFound {
		return api.Errorf(api.KindNotFound, "kernel %s was deleted while VM %s was being created", v.Kernel, v.Name).WithHint("banger kernel list")
	}
	return err
}

func (s *Service) ensureImage(e *entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		v := s.get(e)
		if v.ImageDigest != "" {
			return nil
		}
		img, err := s.Images.Get(v.Image)
		if api.KindOf(err) == api.KindNotFound {
			img, err = s.Images.Pull(ctx, api.PullImage{Name: v.Image}, report)
		}
		if err != nil {
			return err
		}
		defaults, err := s.Defaults()
		if err != nil {
			return err
		}
		if err := useImage(&v, img, defaults); err != nil {
			return err
		}
		return s.update(ctx, e, func(to *api.VM) {
			to.ImageDigest, to.ImageConfig, to.Init, to.DiskBytes = v.ImageDigest, v.ImageConfig, v.Init, v.DiskBytes
		})
	}
}

func (s *Service) makeDisk(e *entry) func(context.Context, api.Report) error {
	return func(ctx context.Context, report api.Report) error {
		v := s.get(e)
		// A deletion asks which images are in use, and locks the cache until it is done. Wait here
		// for one that asked before this VM used its image; the code below notices what it has
		// deleted.
		_, _ = s.Images.Get(v.ImageDigest)
		if err := s.giveUpBase(ctx, v); err != nil {
			return err
		}
		base, err := s.Images.Disk(ctx, v.ImageDigest, v.DiskBytes, report)
		if err != nil {
			return err
		}
		dir := s.Paths.VM(v.ID)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return api.Errorf(api.KindInternal, "cannot create the directory of VM %s: %w", v.Name, err)
		}
		d, err := disk.Choose(ctx, s.Disks, dir, filepath.Dir(base))
		if err != nil {
			return err
		}
		path := s.diskPath(v.ID)
		// Remove what an interrupted attempt left.
		if err := d.Remove(ctx, path); err != nil {
			return err
		}
		if err := d.Create(ctx, disk.Spec{Base: base, Path: path}); err != nil {
			return err
		}
		digest := ""
		if d.Layered() {
			if digest, err = baseDigest(base); err != nil {
				return err
			}
		}
		return s.update(ctx, e, func(v *api.VM) { v.DiskDriver, v.BaseDigest = d.Name(), digest })
	}
}
