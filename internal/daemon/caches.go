package daemon

import (
	"context"

	"banger/api"
	"banger/internal/image/export"
	"banger/internal/op"
	"banger/internal/vm"
)

// Images is what requests need of the image cache.
type Images interface {
	List() ([]api.Image, error)
	Get(ref string) (api.Image, error)
	Pull(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error)
	Import(ctx context.Context, req api.ImportImage, report api.Report) (api.Image, error)
	// Tag gives an image another name.
	Tag(ref, name string) (api.Image, error)
	// History returns how an image was built, the newest step first.
	History(ref string) ([]api.ImageHistory, error)
	// Delete drops a name, and the image with its last one, unless a VM uses it.
	Delete(ref string, inUse func(digest string) []string) error
	// Prune deletes what has no name and is not used. disksInUse is Usage's.
	Prune(inUse func(digest string) []string, disksInUse func(digest string) ([]int64, bool)) (api.Pruned, error)
}

// Exporter opens an image to be written in a format.
type Exporter interface {
	Export(ctx context.Context, ref, format string) (export.Image, error)
}

// ImageCache is the image cache, for requests and for VMs.
type ImageCache interface {
	Images
	Exporter
	vm.Images
}

// Kernels is what requests need of the kernel cache.
type Kernels interface {
	List() ([]api.Kernel, error)
	Get(ref string) (api.Kernel, error)
	Pull(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error)
	Import(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, error)
	// Delete deletes a kernel, unless a VM uses it.
	Delete(ref string, inUse func(digest string) []string) error
}

// KernelCache is the kernel cache, for requests and for VMs.
type KernelCache interface {
	Kernels
	vm.Kernels
}

// Caches answers requests about images and kernels: long work becomes operations, and the
// answers say which VMs use an object. Requests that need neither go to the caches.
type Caches struct {
	Images  Images
	Exports Exporter
	Kernels Kernels
	Ops     *op.Manager
	Use     Usage
}

// Usage reports which objects of the caches VMs need.
type Usage interface {
	// InUse returns the names of the VMs that use an image or kernel.
	InUse(digest string) []string
	// DisksInUse returns the sizes of an image's disks that VMs are made from; known is
	// false if that is unknown for a VM.
	DisksInUse(digest string) (sizes []int64, known bool)
}

// The kinds of operations on the caches.
const (
	kindImagePull    = "image.pull"
	kindImageImport  = "image.import"
	kindImagePrune   = "image.prune" // the only one here that frees space
	kindKernelPull   = "kernel.pull"
	kindKernelImport = "kernel.import"
)

// work runs do as an operation of one step; do cleans up after itself.
func (c Caches) work(ctx context.Context, kind, target, step string, do func(context.Context, api.Report) (api.Result, error)) (*op.Op, error) {
	return c.Ops.Start(ctx, plan(kind, target, step, do))
}

func plan(kind, target, step string, do func(context.Context, api.Report) (api.Result, error)) op.Plan {
	var result api.Result
	return op.Plan{
		Kind: kind, Target: target, FreesSpace: kind == kindImagePrune,
		Steps: []op.Step{{Name: step, Do: func(ctx context.Context, report api.Report) (err error) {
			result, err = do(ctx, report)
			return err
		}}},
		Result: func(*op.Op) *api.Result { return &result },
	}
}

// Again returns the plan of an operation of an earlier daemon that can be repeated, however far it
// came. ok reports whether it is such an operation.
func (c Caches) Again(left op.Unfinished) (again op.Plan, ok bool) {
	return plan(kindImagePrune, "", "prune", c.prune), left.Kind == kindImagePrune
}

// Outcome returns the outcome of an operation of an earlier daemon on the caches: an
// image or a kernel of the name that was made since it began. ok reports whether there is one.
func (c Caches) Outcome(left op.Unfinished) (result *api.Result, ok bool) {
	switch left.Kind {
	case kindImagePull, kindImageImport:
		image, err := c.Images.Get(left.Target)
		return &api.Result{Image: &image}, err == nil && left.Target != "" && !image.CreatedAt.Before(left.StartedAt)
	case kindKernelImport:
		kernel, err := c.Kernels.Get(left.Target)
		return &api.Result{Kernel: &kernel}, err == nil && left.Target != "" && !kernel.CreatedAt.Before(left.StartedAt)
	}
	return nil, false
}

// ListImages returns all images with their users.
func (c Caches) ListImages() ([]api.Image, error) {
	images, err := c.Images.List()
	for i := range images {
		images[i].UsedBy = c.Use.InUse(images[i].Digest)
	}
	return images, err
}

// ShowImage returns one image with its users.
func (c Caches) ShowImage(ref string) (api.Image, error) { return c.used(c.Images.Get(ref)) }

// TagImage gives an image another name.
func (c Caches) TagImage(req api.TagImage) (api.Image, error) {
	return c.used(c.Images.Tag(req.Image, req.Name))
}

// used adds the users of an image.
func (c Caches) used(image api.Image, err error) (api.Image, error) {
	if err == nil {
		image.UsedBy = c.Use.InUse(image.Digest)
	}
	return image, err
}

// PullImage gets an image from where it comes from.
func (c Caches) PullImage(ctx context.Context, req api.PullImage) (*op.Op, error) {
	return c.work(ctx, kindImagePull, req.Name, "image", func(ctx context.Context, report api.Report) (api.Result, error) {
		image, err := c.Images.Pull(ctx, req, report)
		return api.Result{Image: &image}, err
	})
}

// ImportImage makes an image from a file.
func (c Caches) ImportImage(ctx context.Context, req api.ImportImage) (*op.Op, error) {
	return c.work(ctx, kindImageImport, req.Name, "image", func(ctx context.Context, report api.Report) (api.Result, error) {
		image, err := c.Images.Import(ctx, req, report)
		return api.Result{Image: &image}, err
	})
}

// Prune deletes the images and kernels that have no name and no VM.
func (c Caches) Prune(ctx context.Context) (*op.Op, error) {
	return c.work(ctx, kindImagePrune, "", "prune", c.prune)
}

func (c Caches) prune(context.Context, api.Report) (api.Result, error) {
	pruned, err := c.Images.Prune(c.Use.InUse, c.Use.DisksInUse)
	if err == nil {
		err = c.pruneKernels(&pruned)
	}
	return api.Result{Pruned: &pruned}, err
}

// pruneKernels deletes the kernels that newer ones have replaced.
func (c Caches) pruneKernels(pruned *api.Pruned) error {
	kernels, err := c.Kernels.List()
	for _, k := range kernels {
		if err != nil {
			return err
		}
		if len(k.Names) > 0 {
			continue
		}
		switch err = c.Kernels.Delete(k.Digest, c.Use.InUse); api.KindOf(err) {
		case "":
			pruned.Removed = append(pruned.Removed, k.Digest)
			pruned.ReclaimedBytes += k.SizeBytes
		case api.KindConflict: // it is used
			err = nil
		}
	}
	return err
}

// ListKernels returns all kernels with their users.
func (c Caches) ListKernels() ([]api.Kernel, error) {
	kernels, err := c.Kernels.List()
	for i := range kernels {
		kernels[i].UsedBy = c.Use.InUse(kernels[i].Digest)
	}
	return kernels, err
}

// ShowKernel returns one kernel with its users.
func (c Caches) ShowKernel(ref string) (api.Kernel, error) {
	kernel, err := c.Kernels.Get(ref)
	if err == nil {
		kernel.UsedBy = c.Use.InUse(kernel.Digest)
	}
	return kernel, err
}

// PullKernel fetches the distribution's kernel.
func (c Caches) PullKernel(ctx context.Context, req api.PullKernel) (*op.Op, error) {
	return c.work(ctx, kindKernelPull, "", "kernel", func(ctx context.Context, report api.Report) (api.Result, error) {
		kernel, err := c.Kernels.Pull(ctx, req, report)
		return api.Result{Kernel: &kernel}, err
	})
}

// ImportKernel makes a kernel from files.
func (c Caches) ImportKernel(ctx context.Context, req api.ImportKernel) (*op.Op, error) {
	return c.work(ctx, kindKernelImport, req.Name, "kernel", func(ctx context.Context, report api.Report) (api.Result, error) {
		kernel, err := c.Kernels.Import(ctx, req, report)
		return api.Result{Kernel: &kernel}, err
	})
}
