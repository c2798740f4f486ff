package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"banger/api"
)

// Images has the requests about the cache of images.
type Images struct{ of resource[api.Image] }

// List returns the images in the cache.
func (i Images) List(ctx context.Context) ([]api.Image, error) {
	var list api.ImageList
	err := i.of.t.get(ctx, i.of.path, &list)
	return list.Images, err
}

// Show returns the image of a name or digest.
func (i Images) Show(ctx context.Context, ref string) (api.Image, error) { return i.of.show(ctx, ref) }

// Pull downloads or builds an image.
func (i Images) Pull(ctx context.Context, req api.PullImage, report api.Report) (api.Image, error) {
	return i.of.operate(ctx, at(i.of.path, "pull"), req, report)
}

// Import creates an image from a file on the daemon's host.
func (i Images) Import(ctx context.Context, req api.ImportImage, report api.Report) (api.Image, error) {
	return i.of.operate(ctx, at(i.of.path, "import"), req, report)
}

// Register makes an image of files on the daemon's host that stay where they are.
func (i Images) Register(ctx context.Context, req api.RegisterImage, report api.Report) (api.Image, error) {
	return i.of.operate(ctx, at(i.of.path, "register"), req, report)
}

// Promote makes a copy of a registered image that banger keeps itself.
func (i Images) Promote(ctx context.Context, req api.PromoteImage, report api.Report) (api.Image, error) {
	return i.of.operate(ctx, at(i.of.path, "promote"), req, report)
}

// Tag gives an image another name.
func (i Images) Tag(ctx context.Context, req api.TagImage) (api.Image, error) {
	return i.of.change(ctx, at(i.of.path, "tag"), req)
}

// History returns how an image was built, the newest step first.
func (i Images) History(ctx context.Context, ref string) ([]api.ImageHistory, error) {
	var list api.ImageHistoryList
	err := i.of.t.get(ctx, at(i.of.path, ref, "history"), &list)
	return list.History, err
}

// Delete removes a name of an image, and the image with its last name.
func (i Images) Delete(ctx context.Context, ref string) error { return i.of.remove(ctx, ref) }

// Prune removes images and kernels that nothing uses.
func (i Images) Prune(ctx context.Context, report api.Report) (api.Pruned, error) {
	return i.of.prune(ctx, report)
}

// Prunable returns what Prune would remove now. Nothing is touched.
func (i Images) Prunable(ctx context.Context) (pruned api.Pruned, err error) {
	err = i.of.t.get(ctx, "/v1/prunable", &pruned)
	return pruned, unlessOlder(err, "say what a prune would remove")
}

// unlessOlder explains that a daemon does not know a request.
func unlessOlder(err error, what string) error {
	if api.KindOf(err) != api.KindNotFound {
		return err
	}
	return api.Errorf(api.KindUnsupported, "the daemon is of an older version, and cannot %s", what).WithHint("banger daemon status   shows its version")
}

// Export writes a whole image to w, in a format of package api, or fails. It returns
// the number of sockets that it left out. It returns errors of w unchanged.
func (i Images) Export(ctx context.Context, ref, format string, w io.Writer, report api.Report) (leftOut int, err error) {
	leftOut, err = i.export(ctx, ref, format, w, report)
	if err != nil && ctx.Err() != nil {
		return 0, api.Errorf(api.KindCanceled, "cancelled: %w", context.Cause(ctx))
	}
	return leftOut, err
}

func (i Images) export(ctx context.Context, ref, format string, w io.Writer, report api.Report) (leftOut int, err error) {
	if report == nil {
		report = func(api.Progress) {}
	}
	resp, err := i.of.t.send(ctx, http.MethodGet, at(i.of.path, ref, "export")+"?format="+url.QueryEscape(format), nil, "")
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
