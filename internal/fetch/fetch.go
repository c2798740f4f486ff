// Package fetch gets files over HTTPS from a place that a caller does not trust:
// every answer is bounded, has to make progress, can be cancelled, and fails with an
// error that says why. What is got is not trusted either: callers verify it.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"banger/api"
)

// minProgress is what a server has to bring within Options.Stall, unless it is
// less to the end: with 30 s about 2 KiB/s, so that one that drips is bounded as
// one that stalls is (TUF specification, 1.5.2, slow retrieval attacks).
const minProgress = 64 << 10

// DefaultStall is how long a server may bring next to nothing.
const DefaultStall = 30 * time.Second

var errStalled = errors.New("stalled")

// Options say how a Client asks.
type Options struct {
	Stall time.Duration  // how long a server may bring next to nothing; DefaultStall where 0
	Roots *x509.CertPool // whom servers may be certified by; the system's authorities where nil
	// Redirect refuses a redirect with an error, as http.Client.CheckRedirect does. It
	// must be set.
	Redirect func(req *http.Request, via []*http.Request) error
	// Transport stands in for the network in tests.
	Transport http.RoundTripper
}

// Client gets files: no decompression, no cookies, no connection that is kept.
// Proxies are the environment's.
type Client struct {
	http  *http.Client
	stall time.Duration
}

// New makes a client.
func New(o Options) *Client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableCompression: true, DisableKeepAlives: true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if o.Roots != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: o.Roots}
	}
	if o.Stall == 0 {
		o.Stall = DefaultStall
	}
	client := &http.Client{Transport: transport, CheckRedirect: o.Redirect}
	if o.Transport != nil {
		client.Transport = o.Transport
	}
	return &Client{http: client, stall: o.Stall}
}

// statusError is an answer other than 200.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

// Missing tells whether the server has no such file. Storage services that may
// not list a directory answer 403 where others answer 404.
func Missing(err error) bool {
	var s *statusError
	return errors.As(err, &s) && (s.code == http.StatusNotFound || s.code == http.StatusForbidden)
}

// ParseURL takes https, and http where nobody can be in between. An error says what
// is wrong with the URL, without the URL.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("it is no URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("user names, queries and fragments are not supported")
	case u.Scheme == "http" && !Loopback(u):
		return nil, errors.New("plain http is taken from this machine only")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it is neither https nor http")
	}
	return u, nil
}

// Loopback tells whether a URL's host is this machine; localhost always is (RFC 6761, 6.3).
func Loopback(u *url.URL) bool {
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// Body is an answer whose reading is watched.
type Body struct {
	io.Reader
	Length int64             // -1 where the server did not say
	Close  func()            // ends the answer
	Cause  func(error) error // says why the reading failed
}

// Get asks for a file. From here to the last byte the server has to make progress.
func (c *Client) Get(ctx context.Context, u string) (*Body, error) {
	asked, err := c.ask(ctx, c.http, u)
	if err != nil {
		return nil, err
	}
	resp := asked.answer
	if resp.StatusCode != http.StatusOK {
		defer asked.end()
		return nil, asked.cause(&statusError{resp.StatusCode})
	}
	watched := &watch{ctx: asked.ctx, from: resp.Body, progress: func() { asked.timer.Reset(c.stall) }}
	return &Body{Reader: watched, Length: resp.ContentLength, Close: asked.end, Cause: asked.cause}, nil
}

// request is one that was answered, at least with a head.
type request struct {
	ctx    context.Context
	answer *http.Response
	timer  *time.Timer // ends the request when it runs out
	cause  func(error) error
	end    func()
}

func (c *Client) ask(ctx context.Context, client *http.Client, u string) (*request, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.stall, func() { cancel(errStalled) })
	stop := func() { timer.Stop(); cancel(nil) }
	cause := func(err error) error { return c.explain(ctx, u, err) }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		stop()
		return nil, err
	}
	req.Header.Set("User-Agent", "banger")
	resp, err := client.Do(req)
	if err != nil {
		defer stop()
		return nil, cause(err)
	}
	return &request{ctx, resp, timer, cause, func() { resp.Body.Close(); stop() }}, nil
}

// Resolve asks for a URL and follows redirects until one leads to a place that found
// accepts, which is not asked any more. It returns nil where none does.
func (c *Client) Resolve(ctx context.Context, u string, found func(*url.URL) bool) (*url.URL, error) {
	var place *url.URL
	client := *c.http
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if err := c.http.CheckRedirect(req, via); err != nil {
			return err
		}
		if found(req.URL) {
			place = req.URL
			return http.ErrUseLastResponse
		}
		return nil
	}
	asked, err := c.ask(ctx, &client, u)
	if err != nil {
		return nil, err
	}
	defer asked.end()
	if code := asked.answer.StatusCode; place == nil && code != http.StatusOK {
		return nil, asked.cause(&statusError{code})
	}
	return place, nil
}

// Bytes gets a small file whole, and returns a byte more than limit of one that is
// longer.
func (c *Client) Bytes(ctx context.Context, u string, limit int64) ([]byte, error) {
	b, err := c.Get(ctx, u)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	data, err := io.ReadAll(io.LimitReader(b, limit+1))
	if err != nil {
		return nil, b.Cause(err)
	}
	return data, nil
}

// watch calls progress whenever minProgress bytes have come. Of a request that was
// given up it never says that the answer ended well: a server that sees a TLS connection
// being closed may end its answer before the connection is.
type watch struct {
	ctx      context.Context
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
	if err != nil && w.ctx.Err() != nil {
		err = w.ctx.Err()
	}
	return n, err
}

// explain says why an answer did not come, or not to its end.
func (c *Client) explain(ctx context.Context, u string, err error) error {
	var own *api.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(context.Cause(ctx), errStalled):
		return api.Errorf(api.KindTimeout, "cannot get %s: the server brought next to nothing for %v", u, c.stall).
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
