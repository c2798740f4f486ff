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
	"banger/internal/image/oci/blobs"
)

// How long a registry may send nothing, and how long a credential helper may run.
const (
	stallTime  = 30 * time.Second
	helperTime = time.Minute
)

// Options configure a Client.
type Options struct {
	Blobs *blobs.Store // where layers are stored
	// CAFile returns the path of a file with certificates of authorities that are
	// trusted in addition to the system's; "" if there is none. It is called for every
	// pull.
	CAFile func() (string, error)
	// AuthFile is a file of passwords in place of $REGISTRY_AUTH_FILE; "": that.
	AuthFile string
	// Mirrors returns where images of a registry, given by name, are searched first;
	// nil: nowhere else. It is called for every pull.
	Mirrors func() (map[string]string, error)
	// Proxy is for tests; nil: the environment's proxy (HTTPS_PROXY, NO_PROXY).
	Proxy func(*http.Request) (*url.URL, error)
	// Stall is how long a registry may send nothing; 0: half a minute.
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

// session is a connection to one registry about one repository.
type session struct {
	ref   Reference
	login login
	http  *http.Client
	base  string // URL of the repository
	stall time.Duration
	idle  func() // closes the connections
}

func (s *session) close() { s.idle() }

// connect finds out which protocol and authentication the registry requires.
func (c *Client) connect(ctx context.Context, ref Reference) (*session, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	login, err := credentials(ctx, ref, c.o.AuthFile)
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
		base: "https://" + repository.RegistryStr() + "/v2/" + repository.RepositoryStr(), // the transport changes the scheme if needed
	}, nil
}

// proxy is for other machines: registries on this one are not accessed through a proxy.
func (c *Client) proxy(req *http.Request) (*url.URL, error) {
	if loopback(req.URL.Host) {
		return nil, nil
	}
	return c.o.Proxy(req)
}

// patiently calls do, which sends a few short requests, with the time that a registry
// may send nothing for each.
func (c *Client) patiently(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*c.o.Stall, errStalled)
	defer cancel()
	err := do(ctx)
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// roots returns the trusted authorities.
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
		err = errors.New("it contains no certificate")
	}
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot use the certificates that registry_ca names: %s: %w", file, err).
			WithHint("banger config show   shows where registry_ca is set; the file must be in PEM format")
	}
	return pool, nil
}

// get requests something in the repository. The caller must close the body.
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
	// The request is copied: the transport adds credentials to it, and http.Client
	// would send those of an earlier try to redirected hosts.
	req.Header = header.Clone()
	resp, err := s.http.Do(req)
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		end()
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, ctx: ctx, watch: watch, stall: s.stall, end: end}
	return resp, nil
}

// aliveBytes must arrive before a registry counts as sending: otherwise single bytes
// now and then would keep the request alive for ever.
const aliveBytes = 4 << 10

// body is the body of a response that may not stall.
type body struct {
	io.ReadCloser
	ctx   context.Context
	watch *time.Timer
	stall time.Duration
	end   func()
	came  int // bytes received since watch was set
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.came += n; b.came >= aliveBytes {
		b.came = 0
		b.watch.Reset(b.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.end()
	return b.ReadCloser.Close()
}
