// Package caches answers requests about the caches of images and kernels: long work becomes operations,
// and the answers say which VMs use an object.
package caches

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/fileid"
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
	// Prune deletes what has no name and is not used. disksInUse is Usage's. A dry run deletes nothing.
	Prune(dry bool, inUse func(digest string) []string, disksInUse func(digest string) ([]int64, bool)) (api.Pruned, error)
}

// Exporter opens an image to be written in a format.
type Exporter interface {
	Export(ctx context.Context, ref, format string) (export.Image, error)
}

// Registrar makes images of files that stay where they are. inUse is Usage's.
type Registrar interface {
	// CheckRegister refuses a request that no host can carry out.
	CheckRegister(req api.RegisterImage) error
	// Register makes an image of files; kernel makes a kernel of theirs, and is nil if there is none.
	Register(ctx context.Context, req api.RegisterImage, kernel KernelOf, inUse func(digest string) []string, report api.Report) (api.Image, error)
	// Promote makes a managed copy of such an image.
	Promote(ctx context.Context, req api.PromoteImage, inUse func(digest string) []string, report api.Report) (api.Image, error)
}

// KernelOf makes a guest kernel from the files of a registered image. It returns the kernel's digest, and the
// files that it was made from.
type KernelOf = func(ctx context.Context, report api.Report) (digest string, files []fileid.File, err error)

// ImageCache is the image cache, for requests and for VMs.
type ImageCache interface {
	Images
	Exporter
	Registrar
	vm.Images
}

// Kernels is what requests need of the kernel cache.
type Kernels interface {
	List() ([]api.Kernel, error)
	Get(ref string) (api.Kernel, error)
	Pull(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error)
	Import(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, error)
	// Available returns the kernels that Pull can get, by the package lists that are here.
	Available(ctx context.Context, refresh bool) (api.AvailableKernels, error)
	// Register makes a kernel for a registered image, and returns the files that it was made from.
	Register(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, []fileid.File, error)
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
	InPlace Registrar
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
	kindImagePull     = "image.pull"
	kindImageImport   = "image.import"
	kindImageRegister = "image.register"
	kindImagePromote  = "image.promote"
	kindImagePrune    = "image.prune" // the only one here that frees space
	kindKernelPull    = "kernel.pull"
	kindKernelImport  = "kernel.import"
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
	case kindImagePull, kindImageImport, kindImageRegister, kindImagePromote:
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

// RegisterImage makes an image of files that stay where they are.
func (c Caches) RegisterImage(ctx context.Context, req api.RegisterImage) (*op.Op, error) {
	if err := c.InPlace.CheckRegister(req); err != nil {
		return nil, err
	}
	return c.work(ctx, kindImageRegister, req.Name, "image", func(ctx context.Context, report api.Report) (api.Result, error) {
		var kernel KernelOf
		if req.Kernel != "" {
			kernel = func(ctx context.Context, report api.Report) (string, []fileid.File, error) {
				k, files, err := c.Kernels.Register(ctx, api.ImportKernel{Path: req.Kernel, Modules: req.Modules}, report)
				return k.Digest, files, err
			}
		}
		image, err := c.InPlace.Register(ctx, req, kernel, c.Use.InUse, report)
		if err == nil && kernel != nil {
			err = c.stillThere(image)
		}
		return api.Result{Image: &image}, err
	})
}

// stillThere fails if the kernel of a new image was deleted before the image was there to need it.
func (c Caches) stillThere(image api.Image) error {
	_, err := c.Kernels.Get(image.Kernel)
	if api.KindOf(err) == api.KindNotFound {
		return api.Errorf(api.KindConflict, "the kernel of image %s was deleted while the image was registered", image.Names[0]).WithHint("try again")
	}
	return err
}

// PromoteImage makes a managed copy of a registered image.
func (c Caches) PromoteImage(ctx context.Context, req api.PromoteImage) (*op.Op, error) {
	return c.work(ctx, kindImagePromote, cmp.Or(req.Name, req.Image), "image", func(ctx context.Context, report api.Report) (api.Result, error) {
		image, err := c.InPlace.Promote(ctx, req, c.Use.InUse, report)
		return api.Result{Image: &image}, err
	})
}

// kernelOf returns the names of those images whose VMs get a kernel.
func kernelOf(images []api.Image, digest string) (names []string) {
	for _, i := range images {
		if i.Kernel == digest {
			names = append(names, cmp.Or(strings.Join(i.Names, ", "), i.Digest))
		}
	}
	return names
}

// DeleteKernel deletes a kernel, unless a VM or an image needs it.
func (c Caches) DeleteKernel(ref string) error {
	kernel, err := c.Kernels.Get(ref)
	if err != nil {
		return err
	}
	images, err := c.Images.List()
	if err != nil {
		return err
	}
	if of := kernelOf(images, kernel.Digest); len(of) > 0 {
		return api.Errorf(api.KindConflict, "cannot delete kernel %.80s: it belongs to image %s", ref, strings.Join(of, ", ")).
			WithHint("banger image delete %s", of[0])
	}
	return c.Kernels.Delete(ref, c.Use.InUse)
}

// Prune deletes the images and kernels that have no name and no VM.
func (c Caches) Prune(ctx context.Context) (*op.Op, error) {
	return c.work(ctx, kindImagePrune, "", "prune", c.prune)
}

// Prunable returns what a prune would delete now.
func (c Caches) Prunable() (api.Pruned, error) { return c.pruneAll(true) }

func (c Caches) prune(context.Context, api.Report) (api.Result, error) {
	pruned, err := c.pruneAll(false)
	return api.Result{Pruned: &pruned}, err
}

func (c Caches) pruneAll(dry bool) (api.Pruned, error) {
	pruned, err := c.Images.Prune(dry, c.Use.InUse, c.Use.DisksInUse)
	if err == nil {
		err = c.pruneKernels(dry, &pruned)
	}
	return pruned, err
}

// pruneKernels deletes the kernels that newer ones have replaced, unless it is a dry run. pruned has the images
// that are deleted.
func (c Caches) pruneKernels(dry bool, pruned *api.Pruned) error {
	kernels, err := c.Kernels.List()
	if err != nil {
		return err
	}
	images, err := c.Images.List()
	if err != nil {
		return err
	}
	images = slices.DeleteFunc(images, func(i api.Image) bool { return slices.Contains(pruned.Removed, i.Digest) })
	for _, k := range kernels {
		if len(k.Names) > 0 || len(kernelOf(images, k.Digest)) > 0 || len(c.Use.InUse(k.Digest)) > 0 {
			continue
		}
		if !dry {
			err := c.Kernels.Delete(k.Digest, c.Use.InUse)
			if api.KindOf(err) == api.KindConflict { // it is used by now
				continue
			}
			if err != nil {
				return err
			}
		}
		pruned.Add(k.Digest, k.SizeBytes)
	}
	return nil
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
