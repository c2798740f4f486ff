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

	"github.com/google/go-containerregistry/pkg/authn"
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
	auth, err := credentials(ctx, ref)
	if err != nil {
		return nil, err
	}
	plain := &http.Transport{
		Proxy: c.o.Proxy, DialContext: (&net.Dialer{Timeout: c.o.Stall}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: c.o.Stall, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: parallel + 1, IdleConnTimeout: time.Minute,
	}
	repository := ref.ref.Context()
	scopes := []string{repository.Scope(transport.PullScope)}
	agent := transport.NewUserAgent(guard{plain}, "banger/"+buildinfo.Get().Version)
	var wrapped http.RoundTripper
	err = c.patiently(ctx, func(ctx context.Context) (err error) {
		wrapped, err = transport.NewWithContext(ctx, repository.Registry, auth, agent, scopes)
		return err
	})
	if err != nil {
		plain.CloseIdleConnections()
		return nil, err
	}
	return &session{
		ref: ref, http: &http.Client{Transport: wrapped}, stall: c.o.Stall, idle: plain.CloseIdleConnections,
		base: "https://" + repository.RegistryStr() + "/v2/" + repository.RepositoryStr(), // the transport knows better
	}, nil
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

// credentials asks Docker's configuration and the helpers that it names.
func credentials(ctx context.Context, ref Reference) (authn.Authenticator, error) {
	type answer struct {
		auth authn.Authenticator
		err  error
	}
	// The library runs a helper without a context: one that hangs is left behind.
	answered := make(chan answer, 1)
	go func() {
		auth, err := authn.DefaultKeychain.Resolve(ref.ref.Context())
		answered <- answer{auth, err}
	}()
	timer := time.NewTimer(helperTime)
	defer timer.Stop()
	select {
	case a := <-answered:
		if a.err != nil {
			return nil, api.Errorf(api.KindDenied, "cannot get the credentials for %s from Docker's configuration: %w", ref.Registry(), a.err).
				WithHint("docker login %s", ref.Registry())
		}
		return a.auth, nil
	case <-ctx.Done():
		return nil, canceled(ctx)
	case <-timer.C:
		return nil, api.Errorf(api.KindTimeout, "the credential helper of Docker's configuration did not answer for %s within %s", ref.Registry(), helperTime).
			WithHint("docker login %s", ref.Registry())
	}
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
