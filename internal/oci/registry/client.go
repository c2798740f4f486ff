package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/oci/blobs"
)

// How long a registry may be silent, or a program that knows credentials.
const (
	stallTime  = 30 * time.Second
	helperTime = time.Minute
)

// Options are what a Client needs.
type Options struct {
	Blobs *blobs.Store // where layers go
	// CAFile names a file with certificates of authorities that are trusted
	// beside the system's; empty: none. It is asked at every pull.
	CAFile func() (string, error)
	// Mirrors says where images of a registry are looked for first, by its name; nil:
	// nowhere else. It is asked at every pull.
	Mirrors func() (map[string]string, error)
	// Proxy is for tests; nil: what the environment says (HTTPS_PROXY, NO_PROXY).
	Proxy func(*http.Request) (*url.URL, error)
	// Stall is how long a registry may be silent; 0: half a minute.
	Stall time.Duration
}

// Client pulls images.
type Client struct{ o Options }

// New returns a Client.
func New(o Options) *Client {
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.Stall == 0 {
		o.Stall = stallTime
	}
	return &Client{o}
}

// session is a conversation with one registry about one repository.
type session struct {
	ref   Reference
	login login
	http  *http.Client
	base  string // URL of the repository
	stall time.Duration
	idle  func() // closes the connections
}

func (s *session) close() { s.idle() }

// connect finds out how the registry wants to be talked to.
func (c *Client) connect(ctx context.Context, ref Reference) (*session, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	login, err := credentials(ctx, ref)
	if err != nil {
		return nil, err
	}
	local := &dialer{net.Dialer{Timeout: c.o.Stall}}
	plain := &http.Transport{
		Proxy: c.proxy, DialContext: local.dial,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: c.o.Stall, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: parallel + 1, IdleConnTimeout: time.Minute,
	}
	repository := ref.ref.Context()
	scopes := []string{repository.Scope(transport.PullScope)}
	agent := transport.NewUserAgent(guard{plain}, "banger/"+buildinfo.Get().Version)
	var wrapped http.RoundTripper
	err = retry(ctx, func() error {
		return c.patiently(ctx, func(ctx context.Context) (err error) {
			wrapped, err = transport.NewWithContext(ctx, repository.Registry, login.auth, agent, scopes)
			return err
		})
	})
	if err != nil {
		plain.CloseIdleConnections()
		return nil, loginError{err, login}
	}
	return &session{
		ref: ref, login: login, http: &http.Client{Transport: wrapped}, stall: c.o.Stall, idle: plain.CloseIdleConnections,
		base: "https://" + repository.RegistryStr() + "/v2/" + repository.RepositoryStr(), // the transport knows better
	}, nil
}

// proxy is for other machines: what is on this one is not asked for through another.
func (c *Client) proxy(req *http.Request) (*url.URL, error) {
	if loopback(req.URL.Host) {
		return nil, nil
	}
	return c.o.Proxy(req)
}

// patiently calls do, which asks a few short questions, with the time that a
// registry may be silent for each.
func (c *Client) patiently(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*c.o.Stall, errStalled)
	defer cancel()
	err := do(ctx)
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// roots are the authorities that are trusted.
func (c *Client) roots() (*x509.CertPool, error) {
	file := ""
	if c.o.CAFile != nil {
		var err error
		if file, err = c.o.CAFile(); err != nil {
			return nil, err
		}
	}
	if file == "" {
		return nil, nil // the system's
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read the system's certificates: %w", err)
	}
	pem, err := os.ReadFile(file)
	if err == nil && !pool.AppendCertsFromPEM(pem) {
		err = errors.New("there is no certificate in it")
	}
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot use the certificates that registry_ca names: %s: %w", file, err).
			WithHint("banger config show   says where registry_ca comes from; it is a file in PEM format")
	}
	return pool, nil
}

// get asks for something in the repository. The body must be closed.
func (s *session) get(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(s.stall, func() { cancel(errStalled) })
	end := func() {
		watch.Stop()
		cancel(nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		end()
		return nil, err
	}
	// A copy: the transport adds credentials to it, and http.Client would take those of
	// an earlier try along to wherever it is redirected.
	req.Header = header.Clone()
	resp, err := s.http.Do(req)
	if err != nil {
		if context.Cause(ctx) == errStalled {
			err = errStalled
		}
		end()
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, ctx: ctx, watch: watch, stall: s.stall, end: end}
	return resp, nil
}

// aliveBytes have to come before a registry counts as one that sends: single
// bytes now and then would keep us for ever.
const aliveBytes = 4 << 10

// body is the body of a response that may not stall.
type body struct {
	io.ReadCloser
	ctx   context.Context
	watch *time.Timer
	stall time.Duration
	end   func()
	came  int // since watch was set
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.came += n; b.came >= aliveBytes {
		b.came = 0
		b.watch.Reset(b.stall)
	}
	if err != nil && err != io.EOF && context.Cause(b.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.end()
	return b.ReadCloser.Close()
}
