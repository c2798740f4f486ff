package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"banger/api"
)

// maxRedirects is how many redirects are followed; all stay on the host.
const maxRedirects = 3

// minProgress is what a server has to bring within Options.Stall, unless it is
// less to the end: with 30 s about 2 KiB/s, so that one that drips is bounded as
// one that stalls is (TUF specification, 1.5.2, slow retrieval attacks).
const minProgress = 64 << 10

var errStalled = errors.New("stalled")

// statusError is an answer other than 200.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

// missing tells whether the server has no such file. Storage services that may
// not list a directory answer 403 where others answer 404.
func missing(err error) bool {
	var s *statusError
	return errors.As(err, &s) && (s.code == http.StatusNotFound || s.code == http.StatusForbidden)
}

// parseURL takes https, and http where nobody can be in between.
func parseURL(s string) (*url.URL, error) {
	bad := func(cause string) error {
		return api.Errorf(api.KindInvalid, "cannot use repository %q: %s", s, cause).
			WithHint("give a URL such as https://example.com/banger")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, bad("it is no URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, bad("user names, queries and fragments are not supported")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, bad("plain http is taken from this machine only")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, bad("it is neither https nor http")
	}
	return u, nil
}

// loopback tells whether a host is this machine; localhost always is (RFC 6761, 6.3).
func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// newClient makes a client that reads what was signed: no decompression, no
// cookies, no other host. Proxies are the environment's.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableCompression: true, DisableKeepAlives: true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: checkRedirect,
	}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		return refuse("cannot ask the repository: it redirects to another place, %s://%s", req.URL.Scheme, req.URL.Host).
			WithHint("if the repository has moved, give its new URL with --repository")
	}
	if len(via) > maxRedirects {
		return refuse("cannot ask the repository: it redirects more than %d times", maxRedirects)
	}
	return nil
}

// body is an answer whose reading is watched.
type body struct {
	io.Reader
	length int64 // -1 where the server did not say
	close  func()
	cause  func(error) error
}

// get asks for a file below the repository's URL. From here to the last byte the
// server has to make progress.
func (r *Repository) get(ctx context.Context, name string) (*body, error) {
	u := r.base.JoinPath(name).String()
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(r.opts.Stall, func() { cancel(errStalled) })
	stop := func() { timer.Stop(); cancel(nil) }
	cause := func(err error) error { return r.explainNetwork(ctx, u, err) }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		stop()
		return nil, err
	}
	req.Header.Set("User-Agent", "banger")
	resp, err := r.client.Do(req)
	if err != nil {
		defer stop()
		return nil, cause(err)
	}
	closeAll := func() { resp.Body.Close(); stop() }
	if resp.StatusCode != http.StatusOK {
		defer closeAll()
		return nil, cause(&statusError{resp.StatusCode})
	}
	watched := &watch{from: resp.Body, progress: func() { timer.Reset(r.opts.Stall) }}
	return &body{Reader: watched, length: resp.ContentLength, close: closeAll, cause: cause}, nil
}

// watch calls progress whenever minProgress bytes have come.
type watch struct {
	from     io.Reader
	since    int
	progress func()
}

func (w *watch) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if w.since += n; w.since >= minProgress {
		w.since = 0
		w.progress()
	}
	return n, err
}

// explainNetwork says why an answer did not come, or not to its end.
func (r *Repository) explainNetwork(ctx context.Context, u string, err error) error {
	var own *api.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(context.Cause(ctx), errStalled):
		return api.Errorf(api.KindTimeout, "cannot get %s: the server brought next to nothing for %v", u, r.opts.Stall).
			WithHint("try again later, or from another network")
	case errors.Is(ctx.Err(), context.Canceled):
		return api.Errorf(api.KindCanceled, "cannot get %s: it was cancelled", u)
	case ctx.Err() != nil:
		return api.Errorf(api.KindTimeout, "cannot get %s: it took too long", u)
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err // the URL is named already
	}
	return api.Errorf(api.KindInternal, "cannot get %s: %w", u, err).
		WithHint("check the network with `curl -I %s`, and HTTPS_PROXY where there is a proxy", u)
}

// fetch gets a small file whole.
func (r *Repository) fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, err := r.get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer b.close()
	data, err := io.ReadAll(io.LimitReader(b, limit+1))
	if err != nil {
		return nil, b.cause(err)
	}
	if int64(len(data)) > limit {
		return nil, refuse("cannot take the repository's %s: it is longer than %d bytes", name, limit)
	}
	return data, nil
}
