package client

import (
	"context"
	"net/http"
	"net/url"

	"banger/api"
)

// ListKernels returns the kernels in the cache.
func (c *Client) ListKernels(ctx context.Context) ([]api.Kernel, error) {
	var list api.KernelList
	err := c.get(ctx, "/v1/kernels", &list)
	return list.Kernels, err
}

// ShowKernel returns the kernel of a name, release or digest.
func (c *Client) ShowKernel(ctx context.Context, ref string) (api.Kernel, error) {
	var kernel api.Kernel
	err := c.get(ctx, "/v1/kernels/"+url.PathEscape(ref), &kernel)
	return kernel, err
}

// PullKernel downloads the distribution's kernel.
func (c *Client) PullKernel(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error) {
	return c.operateKernel(ctx, "/v1/kernels/pull", req, report)
}

// ImportKernel creates a kernel from files on the daemon's host.
func (c *Client) ImportKernel(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, error) {
	return c.operateKernel(ctx, "/v1/kernels/import", req, report)
}

// DeleteKernel removes a name of a kernel, and the kernel with its last name.
func (c *Client) DeleteKernel(ctx context.Context, ref string) error {
	return c.do(ctx, http.MethodDelete, "/v1/kernels/"+url.PathEscape(ref), nil, nil)
}

func (c *Client) operateKernel(ctx context.Context, path string, in any, report api.Report) (api.Kernel, error) {
	result, err := c.operate(ctx, http.MethodPost, path, in, report)
	if err != nil || result.Kernel == nil {
		return api.Kernel{}, err
	}
	return *result.Kernel, nil
}
