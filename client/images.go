package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

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

// PullImage downloads or builds an image.
func (c *Client) PullImage(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error) {
	return c.operateImage(ctx, "/v1/images/pull", req, report)
}

// ImportImage creates an image from a file on the daemon's host.
func (c *Client) ImportImage(ctx context.Context, req api.ImportImage, report api.Report) (api.Image, error) {
	return c.operateImage(ctx, "/v1/images/import", req, report)
}

// TagImage gives an image another name.
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

// ExportImage writes a whole image to w, in a format of package api, or fails. It returns
// the number of sockets that it left out. It returns errors of w unchanged.
func (c *Client) ExportImage(ctx context.Context, ref, format string, w io.Writer, report api.Report) (leftOut int, err error) {
	leftOut, err = c.exportImage(ctx, ref, format, w, report)
	if err != nil && ctx.Err() != nil {
		return 0, api.Errorf(api.KindCanceled, "cancelled: %w", context.Cause(ctx))
	}
	return leftOut, err
}

func (c *Client) exportImage(ctx context.Context, ref, format string, w io.Writer, report api.Report) (leftOut int, err error) {
	resp, err := c.send(ctx, http.MethodGet, "/v1/images/"+url.PathEscape(ref)+"/export?format="+url.QueryEscape(format), nil, "")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	in := &exportReader{r: resp.Body, total: resp.ContentLength, report: report}
	if _, err := io.Copy(w, in); err != nil {
		if in.err == nil {
			return 0, err
		}
		return 0, api.Errorf(api.KindInternal, "cannot export image %.80s: the transfer was interrupted after %d of %d bytes: %w", ref, in.done, in.total, transportError(in.err)).
			WithHint("run the command again")
	}
	leftOut, err = strconv.Atoi(resp.Header.Get(api.LeftOutHeader))
	if err != nil || in.total < 0 { // another program answers, without a length
		return 0, api.Errorf(api.KindInternal, "cannot read the daemon's answer to an export: it has no %s or no length", api.LeftOutHeader)
	}
	return leftOut, nil
}

// exportReader reports how much was read, and records the error that ended it.
type exportReader struct {
	r           io.Reader
	done, total int64
	report      api.Report
	err         error
}

func (e *exportReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.done += int64(n)
	if err != nil && err != io.EOF {
		e.err = err
	}
	e.report(api.Progress{Step: "export", Message: "exporting the image", Done: e.done, Total: e.total, Unit: "bytes"})
	return n, err
}

// DeleteImage removes a name of an image, and the image with its last name.
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
