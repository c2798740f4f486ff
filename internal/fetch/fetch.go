// Package fetch downloads files over HTTPS from a server that the caller does not
// trust: every answer is bounded, has to make progress, can be cancelled, and fails
// with an error that says why. The content is not trusted either: callers verify it.
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

// minProgress is how many bytes a server has to send within Options.Stall, unless the
// rest is shorter: with 30 s about 2 KiB/s, so that a server that drips is bounded like
// one that stalls (TUF specification, 1.5.2, slow retrieval attacks).
const minProgress = 64 << 10

// DefaultStall is how long a server may send next to nothing.
const DefaultStall = 30 * time.Second

var errStalled = errors.New("stalled")

// Options configure a Client.
type Options struct {
	Stall time.Duration  // how long a server may send next to nothing; DefaultStall if 0
	Roots *x509.CertPool // the trusted certificate authorities; the system's if nil
	// Redirect refuses a redirect with an error, as http.Client.CheckRedirect does. It
	// must be set.
	Redirect func(req *http.Request, via []*http.Request) error
	// Transport replaces the network in tests.
	Transport http.RoundTripper
}

// Client downloads files: without decompression, cookies or persistent connections. It
// uses the environment's proxies.
type Client struct {
	http  *http.Client
	stall time.Duration
}

// New returns a client.
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

// statusError is an HTTP status other than 200.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

// Missing reports whether the server does not have the file. Storage services that may
// not list a directory answer 403 instead of 404.
func Missing(err error) bool {
	var s *statusError
	return errors.As(err, &s) && (s.code == http.StatusNotFound || s.code == http.StatusForbidden)
}

// ParseURL accepts https URLs, and http URLs of this machine. The error says what is
// wrong with the URL, without repeating it.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("it is not a valid URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("user names, queries and fragments are not supported")
	case u.Scheme == "http" && !Loopback(u):
		return nil, errors.New("plain http is allowed to this machine only")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it does not start with https or http")
	}
	return u, nil
}

// Loopback reports whether a URL's host is this machine; localhost always is (RFC 6761,
// 6.3).
func Loopback(u *url.URL) bool {
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// Body is the body of an answer. It fails if the server stops sending.
type Body struct {
	io.Reader
	Length int64             // -1 if the server did not send it
	Close  func()            // ends the answer
	Cause  func(error) error // says why the reading failed
}

// Get requests a file. From here to the last byte the server has to make progress.
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

// request is a request whose answer's header has arrived.
type request struct {
	ctx    context.Context
	answer *http.Response
	timer  *time.Timer // ends the request when it expires
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
	resp, err := client.Do(req) //nolint:bodyclose // request.close does
	if err != nil {
		defer stop()
		return nil, cause(err)
	}
	return &request{ctx, resp, timer, cause, func() { resp.Body.Close(); stop() }}, nil
}

// Resolve requests a URL and follows redirects until one leads to a URL that found
// accepts, which is not requested. It returns nil if none does.
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

// Bytes downloads a small file. If it is longer than limit, Bytes returns limit+1 bytes
// of it.
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

// watch calls progress whenever minProgress bytes have arrived. It never reports the
// regular end of a request that was given up: a server that sees the TLS connection
// closing may end its answer before the connection ends.
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

// explain says why an answer is missing or incomplete.
func (c *Client) explain(ctx context.Context, u string, err error) error {
	var own *api.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(context.Cause(ctx), errStalled):
		return api.Errorf(api.KindTimeout, "cannot get %s: the server sent next to nothing for %v", u, c.stall).
			WithHint("try again later, or from another network")
	case errors.Is(ctx.Err(), context.Canceled):
		return api.Errorf(api.KindCanceled, "cannot get %s: it was cancelled", u)
	case ctx.Err() != nil:
		return api.Errorf(api.KindTimeout, "cannot get %s: it took too long", u)
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err // the error contains the URL already
	}
	return api.Errorf(api.KindInternal, "cannot get %s: %w", u, err).
		WithHint("check the network with `curl -I %s`, and HTTPS_PROXY if there is a proxy", u)
}
