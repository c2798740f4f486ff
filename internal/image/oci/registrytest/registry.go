// Package registrytest is a registry of images for tests: it serves what they push,
// with or without TLS, with or without a login, and misbehaves on request.
package registrytest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"banger/internal/image/oci"
)

// Options configure a registry.
type Options struct {
	TLS bool
	// User and Password are the required credentials; empty: none.
	User, Password string
	// Bearer makes it issue tokens for the credentials instead of accepting them
	// directly.
	Bearer bool
}

// Registry is a registry on this machine.
type Registry struct {
	Host string // address and port

	o      Options
	server *httptest.Server
	inner  http.Handler

	mu       sync.Mutex
	fault    Fault
	requests []string
}

// Fault answers a request instead of the registry, or calls next.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// token is what a registry with Options.Bearer issues.
const token = "a-token-of-the-test"

// Start starts a registry. The caller must close it.
func Start(o Options) *Registry {
	r := &Registry{o: o, inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if o.TLS {
		r.server.StartTLS()
	} else {
		r.server.Start()
	}
	r.Host = r.server.Listener.Addr().String()
	return r
}

// Close stops it, and cuts connections in use.
func (r *Registry) Close() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// CA returns the certificate authority of its certificate, in PEM format.
func (r *Registry) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
}

// Set makes it misbehave; nil: no more.
func (r *Registry) Set(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// Requests returns and forgets the requests so far: "GET /v2/… RANGE".
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.requests
	r.requests = nil
	return all
}

// Asked counts the requests since the last Requests whose path contains part.
func (r *Registry) Asked(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, line := range r.requests {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	fault := r.fault
	r.requests = append(r.requests, strings.TrimSpace(req.Method+" "+req.URL.Path+" "+req.Header.Get("Range")))
	r.mu.Unlock()
	next := http.HandlerFunc(r.authenticate)
	if fault != nil {
		fault(w, req, next)
		return
	}
	next(w, req)
}

func (r *Registry) authenticate(w http.ResponseWriter, req *http.Request) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(r.o.User+":"+r.o.Password))
	got := req.Header.Get("Authorization")
	scheme := "http"
	if r.o.TLS {
		scheme = "https"
	}
	switch {
	case r.o.User == "":
	case r.o.Bearer && req.URL.Path == "/token":
		if got != basic {
			refuse(w, "wrong password")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300})
		return
	case r.o.Bearer && got != "Bearer "+token:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s://%s/token",service="test"`, scheme, r.Host))
		refuse(w, "authentication required")
		return
	case !r.o.Bearer && got != basic:
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		refuse(w, "authentication required")
		return
	}
	r.inner.ServeHTTP(w, req)
}

func refuse(w http.ResponseWriter, why string) {
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":%q}]}`, why)
}

// direct sends requests to the registry itself, past authentication and faults.
type direct struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil { // a server's request body is never nil
		req.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	d.handler.ServeHTTP(rec, req)
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// Push stores an image or index under a name and tag: "app:1".
func (r *Registry) Push(nameTag string, image any) error {
	ref, err := name.ParseReference(r.Host+"/"+nameTag, name.Insecure)
	if err != nil {
		return err
	}
	via := remote.WithTransport(direct{r.inner})
	switch image := image.(type) {
	case v1.Image:
		return remote.Write(ref, image, via)
	case v1.ImageIndex:
		return remote.WriteIndex(ref, image, via)
	}
	return fmt.Errorf("cannot push a %T", image)
}

// PutBlob stores any blob and returns its digest.
func (r *Registry) PutBlob(repository string, data []byte) (string, error) {
	digest := oci.Digest(data)
	return digest, r.put(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+digest, "", data)
}

// PutManifest stores a manifest as it is, even if it is wrong.
func (r *Registry) PutManifest(repository, tag, mediaType string, data []byte) error {
	return r.put(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, mediaType, data)
}

func (r *Registry) put(method, path, mediaType string, data []byte) error {
	req := httptest.NewRequestWithContext(context.Background(), method, path, bytes.NewReader(data))
	req.Header.Set("Content-Type", mediaType)
	resp, err := direct{r.inner}.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !slices.Contains([]int{http.StatusOK, http.StatusCreated}, resp.StatusCode) {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return nil
}
