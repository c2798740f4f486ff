package daemon

import (
	"context"
	"io"

	"banger/api"
	"banger/internal/op"
)

// ImageCache is the daemon's interface to internal/image's cache.
type ImageCache interface {
	List() ([]api.Image, error)
	Get(ref string) (api.Image, error)
	Pull(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error)
	Import(ctx context.Context, req api.ImportImage, report api.Report) (api.Image, error)
	// Tag gives an image another name.
	Tag(ref, name string) (api.Image, error)
	// History returns how an image was built, the newest step first.
	History(ref string) ([]api.ImageHistory, error)
	// Export opens an image to be written in a format.
	Export(ctx context.Context, ref, format string) (Export, error)
	// Delete drops a name, and the image with its last one, unless it is used.
	Delete(ref string, use Usage) error
	// Prune deletes what has no name and is not used.
	Prune(use Usage) (api.Pruned, error)
}

// Export is an image as an archive or a file, ready to be written.
type Export interface {
	Size() int64  // in bytes
	LeftOut() int // sockets that are not in it
	// Write writes it, until ctx ends.
	Write(ctx context.Context, w io.Writer) error
	Close() error
}

// KernelCache is the daemon's interface to internal/kernel's cache.
type KernelCache interface {
	List() ([]api.Kernel, error)
	Get(ref string) (api.Kernel, error)
	Pull(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error)
	Import(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, error)
	// Delete deletes a kernel, unless a VM uses it.
	Delete(ref string, inUse func(digest string) []string) error
}

// Caches builds the services of the two caches: their long work becomes operations, and objects that
// a VM uses are not deleted.
type Caches struct {
	Images  ImageCache
	Kernels KernelCache
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

// ImageService answers requests about images.
type ImageService struct{ Caches }

// List returns all images with their users.
func (s ImageService) List(context.Context) ([]api.Image, error) {
	images, err := s.Images.List()
	for i := range images {
		images[i].UsedBy = s.Use.InUse(images[i].Digest)
	}
	return images, err
}

// Show returns one image.
func (s ImageService) Show(_ context.Context, ref string) (api.Image, error) {
	image, err := s.Images.Get(ref)
	if err == nil {
		image.UsedBy = s.Use.InUse(image.Digest)
	}
	return image, err
}

// Delete deletes an image that no VM uses.
func (s ImageService) Delete(_ context.Context, ref string) error {
	return s.Images.Delete(ref, s.Use)
}

// Tag gives an image another name.
func (s ImageService) Tag(_ context.Context, req api.TagImage) (api.Image, error) {
	image, err := s.Images.Tag(req.Image, req.Name)
	if err == nil {
		image.UsedBy = s.Use.InUse(image.Digest)
	}
	return image, err
}

// History returns how an image was built.
func (s ImageService) History(_ context.Context, ref string) ([]api.ImageHistory, error) {
	return s.Images.History(ref)
}

// Export opens an image to be written in a format.
func (s ImageService) Export(ctx context.Context, ref, format string) (Export, error) {
	return s.Images.Export(ctx, ref, format)
}

// Pull downloads or builds an image, unless the cache has it.
func (s ImageService) Pull(ctx context.Context, req api.PullImage) (*op.Op, error) {
	return s.work(ctx, kindImagePull, req.Name, "image", func(ctx context.Context, report api.Report) (api.Result, error) {
		image, err := s.Images.Pull(ctx, req, report)
		return api.Result{Image: &image}, err
	})
}

// Import makes an image from a file.
func (s ImageService) Import(ctx context.Context, req api.ImportImage) (*op.Op, error) {
	return s.work(ctx, kindImageImport, req.Name, "image", func(ctx context.Context, report api.Report) (api.Result, error) {
		image, err := s.Images.Import(ctx, req, report)
		return api.Result{Image: &image}, err
	})
}

// Prune deletes the images and kernels that have no name and no VM.
func (s ImageService) Prune(ctx context.Context) (*op.Op, error) {
	return s.work(ctx, kindImagePrune, "", "prune", s.prune)
}

func (c Caches) prune(context.Context, api.Report) (api.Result, error) {
	pruned, err := c.Images.Prune(c.Use)
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

// KernelService answers requests about kernels.
type KernelService struct{ Caches }

// List returns all kernels with their users.
func (s KernelService) List(context.Context) ([]api.Kernel, error) {
	kernels, err := s.Kernels.List()
	for i := range kernels {
		kernels[i].UsedBy = s.Use.InUse(kernels[i].Digest)
	}
	return kernels, err
}

// Show returns one kernel.
func (s KernelService) Show(_ context.Context, ref string) (api.Kernel, error) {
	kernel, err := s.Kernels.Get(ref)
	if err == nil {
		kernel.UsedBy = s.Use.InUse(kernel.Digest)
	}
	return kernel, err
}

// Delete deletes a kernel that no VM uses.
func (s KernelService) Delete(_ context.Context, ref string) error {
	return s.Kernels.Delete(ref, s.Use.InUse)
}

// Pull fetches the distribution's kernel.
func (s KernelService) Pull(ctx context.Context, req api.PullKernel) (*op.Op, error) {
	return s.work(ctx, kindKernelPull, "", "kernel", func(ctx context.Context, report api.Report) (api.Result, error) {
		kernel, err := s.Kernels.Pull(ctx, req, report)
		return api.Result{Kernel: &kernel}, err
	})
}

// Import makes a kernel from files.
func (s KernelService) Import(ctx context.Context, req api.ImportKernel) (*op.Op, error) {
	return s.work(ctx, kindKernelImport, req.Name, "kernel", func(ctx context.Context, report api.Report) (api.Result, error) {
		kernel, err := s.Kernels.Import(ctx, req, report)
		return api.Result{Kernel: &kernel}, err
	})
}
