package client

import (
	"context"
	"net/http"
	"net/url"

	"banger/api"
)

// ListImages returns the images in the cache.
func (c *Client) ListImages(ctx context.Context) ([]api.Image, error) {
	var list api.ImageList
	err := c.get(ctx, "/v1/images", &list)
	return list.Images, err
}

// ShowImage returns the image of a name or digest.
func (c *Client) ShowImage(ctx context.Context, ref string) (api.Image, error) {
	var image api.Image
	err := c.get(ctx, "/v1/images/"+url.PathEscape(ref), &image)
	return image, err
}

// PullImage gets or builds an image.
func (c *Client) PullImage(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error) {
	return c.operateImage(ctx, "/v1/images/pull", req, report)
}

// ImportImage makes an image of a file on the daemon's host.
func (c *Client) ImportImage(ctx context.Context, req api.ImportImage, report api.Report) (api.Image, error) {
	return c.operateImage(ctx, "/v1/images/import", req, report)
}

// TagImage gives an image one more name.
func (c *Client) TagImage(ctx context.Context, req api.TagImage) (api.Image, error) {
	var image api.Image
	err := c.do(ctx, http.MethodPost, "/v1/images/tag", req, &image)
	return image, err
}

// ImageHistory returns how an image was built, the newest step first.
func (c *Client) ImageHistory(ctx context.Context, ref string) ([]api.ImageHistory, error) {
	var list api.ImageHistoryList
	err := c.get(ctx, "/v1/images/"+url.PathEscape(ref)+"/history", &list)
	return list.History, err
}

// DeleteImage takes a name off an image, which goes when it was the last.
func (c *Client) DeleteImage(ctx context.Context, ref string) error {
	return c.do(ctx, http.MethodDelete, "/v1/images/"+url.PathEscape(ref), nil, nil)
}

// PruneImages removes images and kernels that nothing uses.
func (c *Client) PruneImages(ctx context.Context, report api.Report) (api.Pruned, error) {
	return c.prune(ctx, "/v1/images/prune", report)
}

func (c *Client) operateImage(ctx context.Context, path string, in any, report api.Report) (api.Image, error) {
	result, err := c.operate(ctx, http.MethodPost, path, in, report)
	if err != nil || result.Image == nil {
		return api.Image{}, err
	}
	return *result.Image, nil
}
