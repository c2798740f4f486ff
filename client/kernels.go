package client

import (
	"context"

	"banger/api"
)

// Kernels has the requests about the cache of guest kernels.
type Kernels struct{ of resource[api.Kernel] }

// List returns the kernels in the cache.
func (k Kernels) List(ctx context.Context) ([]api.Kernel, error) {
	var list api.KernelList
	err := k.of.t.get(ctx, k.of.path, &list)
	return list.Kernels, err
}

// Show returns the kernel of a name, release or digest.
func (k Kernels) Show(ctx context.Context, ref string) (api.Kernel, error) {
	return k.of.show(ctx, ref)
}

// Pull downloads the distribution's kernel.
func (k Kernels) Pull(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error) {
	return k.of.operate(ctx, at(k.of.path, "pull"), req, report)
}

// Available returns the kernels that a pull can get, by the package lists that the daemon has; with
// refresh it fetches them first.
func (k Kernels) Available(ctx context.Context, refresh bool) (found api.AvailableKernels, err error) {
	path := "/v1/available-kernels"
	if refresh {
		path += "?refresh=true"
	}
	err = k.of.t.get(ctx, path, &found)
	return found, unlessOlder(err, "say which kernels are available")
}

// Import creates a kernel from files on the daemon's host.
func (k Kernels) Import(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, error) {
	return k.of.operate(ctx, at(k.of.path, "import"), req, report)
}

// Delete removes a name of a kernel, and the kernel with its last name.
func (k Kernels) Delete(ctx context.Context, ref string) error { return k.of.remove(ctx, ref) }
