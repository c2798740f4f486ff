package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/image/oci"
	"banger/internal/image/oci/blobs"
	"banger/internal/image/oci/registrytest"
)

func TestMain(m *testing.M) {
	firstPause = 10 * time.Millisecond
	goleak.VerifyTestMain(m)
}

func silent(api.Progress) {}

// fixture is a registry, and a client that has its own home.
type fixture struct {
	*registrytest.Registry
	t      *testing.T
	dir    string // of the blobs
	caFile string
}

func newFixture(t *testing.T, o registrytest.Options) *fixture {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker")) // the library looks up HOME once
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("XDG_RUNTIME_DIR", home)
	fx := &fixture{Registry: registrytest.Start(o), t: t, dir: filepath.Join(t.TempDir(), "blobs")}
	t.Cleanup(fx.Close)
	return fx
}

func (fx *fixture) client(change ...func(*Options)) *Client {
	o := Options{Blobs: blobs.Open(fx.dir), CAFile: func() (string, error) { return fx.caFile, nil }, Stall: 5 * time.Second}
	for _, c := range change {
		c(&o)
	}
	return New(o)
}

// pull pulls as the daemon does, and reads every layer.
func (fx *fixture) pull(c *Client, name string, report api.Report) (oci.Image, error) {
	fx.t.Helper()
	ref, err := Parse(fx.Host + "/" + name)
	if err != nil {
		fx.t.Fatal(err)
	}
	return pullAs(fx.t.Context(), fx.t, c, ref, report)
}

func pullAs(ctx context.Context, t *testing.T, c *Client, ref Reference, report api.Report) (oci.Image, error) {
	t.Helper()
	found, err := c.Find(ctx, ref)
	if err != nil {
		return oci.Image{}, err
	}
	defer found.Close()
	image, release, err := found.Fetch(ctx, report)
	if err != nil {
		return image, err
	}
	defer release()
	for _, l := range image.Layers {
		r, err := l.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil || oci.Digest(data) != l.Digest || int64(len(data)) != l.Size {
			t.Errorf("layer %s is another: %v", l.Digest, err)
		}
	}
	return image, nil
}

// must is for what tests prepare.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// noise does not compress, so that layers are as large as they look.
func noise(seed int64, n int) string {
	b := make([]byte, n)
	_, _ = rand.New(rand.NewSource(seed)).Read(b)
	return string(b)
}

// push pushes an image with several layers of about a MiB.
func (fx *fixture) push(name, arch string, layers int) v1.Image {
	fx.t.Helper()
	var all []v1.Layer
	for n := range layers {
		all = append(all, must[v1.Layer](fx.t)(registrytest.Files(map[string]string{fmt.Sprintf("etc/%d", n): noise(int64(n), 1<<20)})))
	}
	image := must[v1.Image](fx.t)(registrytest.Image(arch, v1.Config{Env: []string{"A=1"}, Cmd: []string{"/bin/sh"}}, all...))
	if name != "" {
		if err := fx.Push(name, image); err != nil {
			fx.t.Fatal(err)
		}
	}
	return image
}

func TestPull(t *testing.T) {
	for name, o := range map[string]registrytest.Options{
		"plain": {}, "tls": {TLS: true}, "basic": {User: "me", Password: "secret"},
		"bearer": {User: "me", Password: "secret", Bearer: true, TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			fx := newFixture(t, o)
			fx.login(o)
			if o.TLS {
				fx.trust()
			}
			fx.push("team/app:1", "", 5)
			c := fx.client()
			var last api.Progress
			image, err := fx.pull(c, "team/app:1", func(p api.Progress) { last = p })
			if err != nil {
				t.Fatal(err)
			}
			if image.Ref != fx.Host+"/team/app:1" || !oci.IsDigest(image.ManifestDigest) || image.Arch != runtime.GOARCH || image.Config.Env[0] != "A=1" || len(image.Layers) != 5 {
				t.Errorf("got %+v", image)
			}
			if last.Done != last.Total || last.Total < 5<<20 || last.Unit != "bytes" || last.Message != "downloading "+image.Ref {
				t.Errorf("last progress: %+v", last)
			}
			// By digest, and nothing comes again.
			fx.Requests()
			if _, err := fx.pull(fx.client(), "team/app@"+image.ManifestDigest, silent); err != nil {
				t.Fatal(err)
			}
			if n := fx.Asked("/blobs/"); n != 1 { // the configuration
				t.Errorf("%d blobs came again: %v", n, fx.Requests())
			}
		})
	}
}

// login writes what docker login does.
func (fx *fixture) login(o registrytest.Options) {
	fx.t.Helper()
	if o.User == "" {
		return
	}
	fx.dockerConfig(fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, fx.Host, o.User, o.Password))
}

func (fx *fixture) dockerConfig(text string) {
	fx.t.Helper()
	dir := filepath.Join(os.Getenv("HOME"), ".docker")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		fx.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		fx.t.Fatal(err)
	}
}

func (fx *fixture) trust() {
	fx.t.Helper()
	fx.caFile = filepath.Join(fx.t.TempDir(), "ca.pem")
	if err := os.WriteFile(fx.caFile, fx.CA(), 0o600); err != nil {
		fx.t.Fatal(err)
	}
}

// TestCredentialHelper has a program know the password.
func TestCredentialHelper(t *testing.T) {
	fx := newFixture(t, registrytest.Options{User: "me", Password: "secret", Bearer: true})
	fx.push("app:1", "", 1)
	bin := t.TempDir()
	helper := "#!/bin/sh\n[ \"$1\" = get ] && echo '{\"Username\":\"me\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-testing"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	fx.dockerConfig(fmt.Sprintf(`{"credHelpers":{%q:"testing"}}`, fx.Host))
	if _, err := fx.pull(fx.client(), "app:1", silent); err != nil {
		t.Error(err)
	}
	fx.dockerConfig(fmt.Sprintf(`{"credHelpers":{%q:"absent"}}`, fx.Host))
	_, err := fx.pull(fx.client(), "app:1", silent)
	expect(t, err, api.KindDenied, "docker-credential-absent is not installed", "docker login "+fx.Host)
	fx.dockerConfig(`{`)
	_, err = fx.pull(fx.client(), "app:1", silent)
	expect(t, err, api.KindDenied, "Docker's configuration", "docker login "+fx.Host)
}

// TestLeftoverHelper: a program that keeps passwords and is not installed any more, as
// Docker Desktop leaves it, hinders nobody who needs none.
func TestLeftoverHelper(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.push("app:1", "", 1)
	for _, config := range []string{`{"credsStore":"nonesuch"}`, `{"credsStore":"../../bin/sh"}`, fmt.Sprintf(`{"credHelpers":{%q:"nonesuch"}}`, fx.Host), ``} {
		fx.dockerConfig(config)
		if _, err := fx.pull(fx.client(), "app:1", silent); err != nil {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// TestWhosePassword: of several entries the one with the longest path that an image is
// below counts, and none of others is ever sent; and both Docker's and Podman's files do.
func TestWhosePassword(t *testing.T) {
	fx := newFixture(t, registrytest.Options{User: "me", Password: "secret"})
	fx.push("team/app:1", "", 1)
	entry := func(user, password string) string {
		return fmt.Sprintf(`{"username":%q,"password":%q}`, user, password)
	}
	auths := func(entries ...string) string { return `{"auths":{` + strings.Join(entries, ",") + `}}` }
	key := func(k, user, password string) string { return fmt.Sprintf("%q:%s", k, entry(user, password)) }
	podman := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	if err := os.MkdirAll(filepath.Dir(podman), 0o700); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	sent := map[string]bool{}
	fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if user, _, ok := r.BasicAuth(); ok {
			mu.Lock()
			sent[user] = true
			mu.Unlock()
		}
		next.ServeHTTP(rw, r)
	})
	right := func(k string) string { return key(k, "me", "secret") }
	wrong := func(k string) string { return key(k, "other", "wrong") }
	for name, tt := range map[string]struct {
		docker, podman string
		ok             bool
	}{
		"namespaces":              {docker: auths(right(fx.Host+"/team"), wrong(fx.Host+"/other"), wrong(fx.Host+"/tea")), ok: true},
		"the longest":             {docker: auths(wrong(fx.Host), wrong(fx.Host+"/team"), right(fx.Host+"/team/app")), ok: true},
		"another's alone":         {docker: auths(wrong(fx.Host+"/other"), wrong("example.com"), wrong("x"+fx.Host))},
		"the registry's":          {docker: auths(right("http://"+fx.Host+"/v1/"), wrong(fx.Host+"/team/app/more")), ok: true},
		"podman's as well":        {docker: `{"auths":{}}`, podman: auths(right(fx.Host)), ok: true},
		"docker's first":          {docker: auths(right(fx.Host)), podman: auths(wrong(fx.Host)), ok: true},
		"podman's for an empty":   {docker: auths(fmt.Sprintf("%q:{}", fx.Host)), podman: auths(right(fx.Host)), ok: true},
		"a helper that is not":    {docker: `{"credsStore":"nonesuch",` + auths(right(fx.Host))[1:], ok: true},
		"podman's for the helper": {docker: `{"credsStore":"nonesuch"}`, podman: auths(right(fx.Host + "/team")), ok: true},
	} {
		fx.dockerConfig(tt.docker)
		if err := os.WriteFile(podman, []byte(tt.podman), 0o600); err != nil {
			t.Fatal(err)
		}
		clear(sent)
		_, err := fx.pull(fx.client(), "team/app:1", silent)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		mu.Lock()
		if sent["other"] {
			t.Errorf("%s: another's password was sent", name)
		}
		mu.Unlock()
		if err := os.RemoveAll(fx.dir); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNamesOfThisMachine: what is below localhost is this machine, whatever else would
// be asked about the name, and no proxy is.
func TestNamesOfThisMachine(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.push("app:1", "", 1)
	_, port, err := net.SplitHostPort(fx.Host)
	if err != nil {
		t.Fatal(err)
	}
	ref := must[Reference](t)(Parse("registry.LocalHost:" + port + "/app:1"))
	proxied := fx.client(func(o *Options) {
		o.Proxy = func(r *http.Request) (*url.URL, error) { t.Errorf("a proxy for %s", r.URL); return nil, nil }
	})
	if _, err := pullAs(t.Context(), t, proxied, ref, silent); err != nil {
		t.Error(err)
	}
}

// TestShortTroubles: what is over in a moment is waited for, wherever it is met.
func TestShortTroubles(t *testing.T) {
	for name, o := range map[string]registrytest.Options{"open": {}, "token": {User: "me", Password: "secret", Bearer: true}} {
		for _, part := range []string{"/v2/", "/token", "/manifests/", "/blobs/"} {
			for trouble, fault := range map[string]registrytest.Fault{
				"503": registrytest.Answer(503, ""), "429": registrytest.Answer(429, "", "Retry-After", "10ms"),
				"reset": func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
			} {
				fx := newFixture(t, o)
				fx.push("app:1", "", 1)
				fx.login(o)
				var once sync.Once
				fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					hit := false
					if r.URL.Path == part || part != "/v2/" && strings.Contains(r.URL.Path, part) {
						once.Do(func() { hit = true })
					}
					if hit {
						fault(rw, r, next)
						return
					}
					next.ServeHTTP(rw, r)
				})
				if _, err := fx.pull(fx.client(), "app:1", silent); err != nil {
					t.Errorf("%s, %s once at %s: %v", name, trouble, part, err)
				}
			}
		}
	}
}

// TestMirror looks in a mirror first, and in the registry where that has not what is
// wanted. What each is shown are its own passwords.
func TestMirror(t *testing.T) {
	o := registrytest.Options{User: "me", Password: "secret"}
	fx := newFixture(t, o)
	mirror := registrytest.Start(registrytest.Options{})
	defer mirror.Close()
	fx.login(o)
	image := fx.push("app:1", "", 1)
	fx.push("app:2", "", 1)
	if err := mirror.Push("hub/app:1", image); err != nil {
		t.Fatal(err)
	}
	mirror.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the mirror was shown a password")
		}
		next.ServeHTTP(rw, r)
	})
	client := fx.client(func(o *Options) {
		o.Mirrors = func() (map[string]string, error) { return map[string]string{fx.Host: mirror.Host + "/hub"}, nil }
	})
	fx.Requests()
	got, err := fx.pull(client, "app:1", silent)
	if err != nil || got.Ref != fx.Host+"/app:1" || len(fx.Requests()) != 0 {
		t.Errorf("from the mirror: %s, %v", got.Ref, err)
	}
	ref := must[Reference](t)(Parse(fx.Host + "/app:2"))
	found, err := client.Find(t.Context(), ref)
	if err != nil || !strings.Contains(found.Note, mirror.Host) {
		t.Fatalf("from the registry: %v", err)
	}
	found.Close()
	_, err = fx.pull(client, "app:3", silent)
	expect(t, err, api.KindNotFound, "the mirror does not have it either", "tag")
}

// TestStaticFiles: a registry that is a web server with files has nothing at /v2/.
func TestStaticFiles(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.push("app:1", "", 1)
	fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/v2/" {
			http.NotFound(rw, r)
			return
		}
		next.ServeHTTP(rw, r)
	})
	if _, err := fx.pull(fx.client(), "app:1", silent); err != nil {
		t.Error(err)
	}
	_, err := fx.pull(fx.client(), "app:2", silent)
	expect(t, err, api.KindNotFound, "has no such name or tag", "tag")
}

// TestLeadsElsewhere names the place that a registry redirects to.
func TestLeadsElsewhere(t *testing.T) {
	fx := newFixture(t, registrytest.Options{TLS: true})
	fx.trust()
	fx.push("app:1", "", 1)
	fx.Set(registrytest.Blobs(registrytest.Answer(307, "", "Location", "http://storage.example.test/x")))
	_, err := fx.pull(fx.client(), "app:1", silent)
	expect(t, err, api.KindDenied, fx.Host+" redirects to another place: storage.example.test does not speak HTTPS", "the redirect's target")
}

// expect is about what people get to read.
func expect(t *testing.T, err error, kind api.Kind, words, hint string) {
	t.Helper()
	e := api.AsError(err)
	if e == nil || e.Kind != kind || !strings.Contains(e.Message, words) || !strings.Contains(e.Hint, hint) || e.Hint == "" {
		t.Errorf("got %v\nkind %s, hint %q\nwant %s: … %s …, hint %s", err, api.KindOf(err), hintOf(e), kind, words, hint)
	}
}

func hintOf(e *api.Error) string {
	if e == nil {
		return ""
	}
	return e.Hint
}

func TestPlatforms(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	foreign, own := fx.push("", other, 1), fx.push("", "", 2)
	index := must[v1.ImageIndex](t)(registrytest.Index(foreign, fx.push("", "riscv64", 1)))
	for name, image := range map[string]any{
		"multi:1": must[v1.ImageIndex](t)(registrytest.Index(foreign, own)), "others:1": index, "other:1": foreign,
	} {
		if err := fx.Push(name, image); err != nil {
			t.Fatal(err)
		}
	}
	image, err := fx.pull(fx.client(), "multi:1", silent)
	if err != nil || len(image.Layers) != 2 {
		t.Errorf("%d layers: %v", len(image.Layers), err)
	}
	ours := "but this machine runs linux/" + runtime.GOARCH
	_, err = fx.pull(fx.client(), "others:1", silent)
	expect(t, err, api.KindUnsupported, "it is for linux/"+other+", linux/riscv64, "+ours, "another tag")
	_, err = fx.pull(fx.client(), "other:1", silent)
	expect(t, err, api.KindUnsupported, "it is for linux/"+other+", "+ours, "another tag")
}

// TestAnswers has the registry say no.
func TestAnswers(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.push("app:1", "", 1)
	for name, tt := range map[string]struct {
		fault       registrytest.Fault
		name        string
		kind        api.Kind
		words, hint string
	}{
		"no tag":        {nil, "app:2", api.KindNotFound, "has no such name or tag", "the tag"},
		"no repository": {nil, "none:1", api.KindNotFound, "has no such name or tag", "the name"},
		"no digest":     {nil, "app@" + sum, api.KindNotFound, "has no such image", "the digest"},
		"401": {registrytest.Answer(401, "", "WWW-Authenticate", `Basic realm="x"`), "app:1",
			api.KindDenied, "does not allow it", "docker login " + fx.Host},
		"403": {registrytest.Answer(403, `{"errors":[{"code":"DENIED","message":"ask your administrator"}]}`), "app:1",
			api.KindDenied, "(ask your administrator)", "docker login " + fx.Host},
		"429": {registrytest.Answer(429, "", "Retry-After", "90"), "app:1", api.KindDenied, "too many requests; try again in 1m30s", "docker login"},
		"429 with a date": {registrytest.Answer(429, "", "Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), "app:1",
			api.KindDenied, "try again in ", "banger image pull"},
		"429 of Docker Hub": {registrytest.Blobs(registrytest.Answer(429, "", "RateLimit-Limit", "100;w=21600")), "app:1",
			api.KindDenied, "(it allows 100 requests in 6h); try again within 6h", "docker login"},
		"429 and no word": {registrytest.Answer(429, ""), "app:1", api.KindDenied, "does not say when", "docker login"},
		"500":             {registrytest.Answer(500, "oops"), "app:1", api.KindInternal, "has a problem: it answered 500 Internal Server Error", "try again later"},
		"418":             {registrytest.Answer(418, "<html>"), "app:1", api.KindInternal, "answered 418", "a registry of images?"},
		"blob 404":        {registrytest.Blobs(registrytest.Answer(404, "")), "app:1", api.KindNotFound, "has no such name", "tag"},
	} {
		t.Run(name, func(t *testing.T) {
			fx.Set(tt.fault)
			defer fx.Set(nil)
			_, err := fx.pull(fx.client(), tt.name, silent)
			expect(t, err, tt.kind, tt.words, tt.hint)
			if err != nil && !strings.HasPrefix(err.Error(), "cannot pull "+fx.Host+"/") {
				t.Errorf("not about the image: %v", err)
			}
		})
	}
}

func TestUnauthorized(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		o := registrytest.Options{User: "me", Password: "secret", Bearer: bearer}
		fx := newFixture(t, o)
		fx.push("app:1", "", 1)
		_, err := fx.pull(fx.client(), "app:1", silent)
		expect(t, err, api.KindDenied, "the image is private or does not exist", "docker login "+fx.Host)
		fx.login(registrytest.Options{User: "me", Password: "wrong"})
		_, err = fx.pull(fx.client(), "app:1", silent)
		expect(t, err, api.KindDenied, "does not allow it", "docker login "+fx.Host)
		if strings.Contains(err.Error(), "wrong\"") || strings.Contains(err.Error(), "me:") {
			t.Errorf("a password: %v", err)
		}
		fx.Close()
	}
}

func TestTrust(t *testing.T) {
	fx := newFixture(t, registrytest.Options{TLS: true})
	fx.push("app:1", "", 1)
	_, err := fx.pull(fx.client(), "app:1", silent)
	expect(t, err, api.KindDenied, "signed by an authority that this machine does not trust", "registry_ca")
	fx.trust()
	if err := os.WriteFile(fx.caFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = fx.pull(fx.client(), "app:1", silent)
	expect(t, err, api.KindInvalid, "registry_ca", "banger config show")
	fx.trust()
	_, port, _ := net.SplitHostPort(fx.Host)
	ref := must[Reference](t)(Parse("localhost:" + port + "/app:1"))
	_, err = fx.client().Find(t.Context(), ref)
	expect(t, err, api.KindDenied, "not valid for localhost", "a name")
}

// TestPlainHTTP is for this machine alone, redirects included.
func TestPlainHTTP(t *testing.T) {
	_, err := guard{http.DefaultTransport}.RoundTrip(httptest.NewRequest("GET", "http://10.0.0.1/v2/", nil))
	if err == nil || !strings.Contains(err.Error(), "plain HTTP is allowed to this machine only") {
		t.Error(err)
	}
	fx := newFixture(t, registrytest.Options{})
	fx.push("app:1", "", 1)
	fx.Set(registrytest.Blobs(registrytest.Answer(307, "", "Location", "http://example.invalid/blob")))
	_, err = fx.pull(fx.client(), "app:1", silent)
	expect(t, err, api.KindDenied, "plain HTTP is allowed to this machine only", "certificate")
}

// TestProxy goes through a proxy, which alone knows where the registry is.
func TestProxy(t *testing.T) {
	fx := newFixture(t, registrytest.Options{TLS: true})
	fx.trust()
	fx.push("app:1", "", 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			http.Error(rw, "unexpected "+r.Method+" "+r.Host, http.StatusBadRequest)
			return
		}
		far, err := net.Dial("tcp", fx.Host)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		near, _, _ := rw.(http.Hijacker).Hijack()
		_, _ = near.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		// Nobody waits for these: they end with the registry's connections.
		go func() { _, _ = io.Copy(far, near); far.Close() }()
		go func() { _, _ = io.Copy(near, far); near.Close() }()
	}))
	defer proxy.Close()
	via := func(o *Options) { o.Proxy = http.ProxyURL(must[*url.URL](t)(url.Parse(proxy.URL))) }
	ref := must[Reference](t)(Parse("example.com/app:1")) // the name in httptest's certificate
	if _, err := pullAs(t.Context(), t, fx.client(via), ref, silent); err != nil {
		t.Error(err)
	}
	gone := func(o *Options) { o.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:1"}) }
	_, err := fx.client(gone).Find(t.Context(), ref)
	expect(t, err, api.KindInternal, "proxyconnect", "banger config show")
}

// TestCredentialsStay: a registry that fails once and then sends us to another server
// does not have us take the password there.
func TestCredentialsStay(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		o := registrytest.Options{User: "me", Password: "secret", Bearer: bearer}
		fx := newFixture(t, o)
		fx.login(o)
		fx.push("app:1", "", 1)
		asked := make(chan string, 100)
		other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked <- r.Header.Get("Authorization")
			http.NotFound(rw, r)
		}))
		fails := times(1, registrytest.Answer(503, ""))
		fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if !strings.Contains(r.URL.Path, "/manifests/") || r.Header.Get("Authorization") == "" {
				next.ServeHTTP(rw, r)
				return
			}
			fails(rw, r, http.RedirectHandler(other.URL+"/elsewhere", http.StatusTemporaryRedirect))
		})
		_, err := fx.pull(fx.client(), "app:1", silent)
		other.Close()
		if err == nil || len(asked) == 0 {
			t.Fatalf("bearer %v: the other server was not asked: %v", bearer, err)
		}
		if got := <-asked; got != "" {
			t.Errorf("bearer %v: the other server got %q", bearer, got)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	ref := must[Reference](t)(Parse(fx.Host + "/app:1"))
	fx.Close()
	_, err := fx.client().Find(t.Context(), ref)
	expect(t, err, api.KindInternal, "connection refused", "banger image pull "+fx.Host+"/app:1")
	dns := &url.Error{Op: "Get", URL: "https://x", Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "registry.example"}}}
	far := must[Reference](t)(Parse("registry.example:5000/app"))
	expect(t, explain(t.Context(), far, login{}, dns), api.KindInternal, "no such host", "is there a network? getent hosts registry.example")
}

// TestBroken has connections break in the middle of layers.
func TestBroken(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"once each":    registrytest.Blobs(registrytest.Cut(700<<10, 3)),
		"at the start": registrytest.Blobs(registrytest.Cut(0, 2)),
		"no Range":     registrytest.Blobs(registrytest.NoRange(registrytest.Cut(700<<10, 2))),
		"a 503":        registrytest.Blobs(times(2, registrytest.Answer(503, ""))),
	} {
		t.Run(name, func(t *testing.T) {
			fx := newFixture(t, registrytest.Options{})
			fx.push("app:1", "", 3)
			fx.Set(fault)
			if _, err := fx.pull(fx.client(), "app:1", silent); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// times has a fault happen so often, and then no more.
func times(n int, f registrytest.Fault) registrytest.Fault {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		n--
		now := n >= 0
		mu.Unlock()
		if now {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// TestStalled has the registry fall silent in the middle of a layer. It comes to
// life when the layer is asked for again, from there.
func TestStalled(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	image := fx.push("app:1", "", 1)
	layer := must[v1.Hash](t)(must[[]v1.Layer](t)(image.Layers())[0].Digest())
	fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, layer.Hex) && r.Header.Get("Range") == "" {
			registrytest.Hang(500<<10)(rw, r, next)
			return
		}
		next.ServeHTTP(rw, r)
	})
	impatient := func(o *Options) { o.Stall = 300 * time.Millisecond }
	if _, err := fx.pull(fx.client(impatient), "app:1", silent); err != nil {
		t.Fatal(err)
	}
	if n := fx.Asked("/blobs/" + layer.String() + " bytes="); n != 1 {
		t.Errorf("asked for a part %d times", n)
	}
	// One that says nothing at all.
	fx.Set(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
	_, err := fx.pull(fx.client(impatient), "app:1", silent)
	expect(t, err, api.KindTimeout, "it stopped responding", "banger image pull")
}

// TestResumed is cancelled in the middle of a layer; the next daemon goes on.
func TestResumed(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.push("app:1", "", 2)
	fx.Set(registrytest.Blobs(registrytest.Hang(500 << 10)))
	ctx, cancel := context.WithCancel(t.Context())
	ref := must[Reference](t)(Parse(fx.Host + "/app:1"))
	_, err := pullAs(ctx, t, fx.client(), ref, func(p api.Progress) {
		if p.Done > 0 {
			cancel()
		}
	})
	if api.KindOf(err) != api.KindCanceled {
		t.Fatal(err)
	}
	fx.Set(nil)
	fx.Requests()
	if _, err := fx.pull(fx.client(), "app:1", silent); err != nil {
		t.Fatal(err)
	}
	parts := 0
	for _, line := range fx.Requests() {
		if strings.Contains(line, "bytes=") {
			parts++
		}
	}
	if parts == 0 {
		t.Error("nothing was gone on with")
	}
}

// TestLies has manifests that say what is not so. Nothing of them is kept.
func TestLies(t *testing.T) {
	layer := noise(1, 1<<20)
	diff := oci.Digest([]byte("whatever"))
	config := fmt.Sprintf(`{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, diff)
	type manifest struct {
		SchemaVersion int
		MediaType     types.MediaType
		Config        v1.Descriptor
		Layers        []v1.Descriptor
	}
	for name, tt := range map[string]struct {
		lie   func(m *manifest)
		kind  api.Kind
		words string
	}{
		"the truth":           {func(*manifest) {}, "", ""},
		"layer too small":     {func(m *manifest) { m.Layers[0].Size-- }, api.KindInvalid, "its manifest is wrong"},
		"layer too large":     {func(m *manifest) { m.Layers[0].Size = 1 << 30 }, api.KindInvalid, "its manifest is wrong"},
		"layer enormous":      {func(m *manifest) { m.Layers[0].Size = 1 << 62 }, api.KindInvalid, "its manifest is wrong"},
		"negative":            {func(m *manifest) { m.Layers[0].Size = -1 }, api.KindInvalid, "a size of -1"},
		"config too small":    {func(m *manifest) { m.Config.Size-- }, api.KindInvalid, "its manifest is wrong"},
		"config enormous":     {func(m *manifest) { m.Config.Size = 1 << 30 }, api.KindInvalid, "has a declared size of"},
		"more layers":         {func(m *manifest) { m.Layers = append(m.Layers, m.Layers[0]) }, api.KindInvalid, "its manifest has 2 layers, its configuration 1"},
		"foreign layer":       {func(m *manifest) { m.Layers[0].MediaType = types.DockerForeignLayer }, "", ""},
		"zstd of BuildKit":    {func(m *manifest) { m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.diff.tar.zstd" }, "", ""},
		"nameless":            {func(m *manifest) { m.Config.MediaType, m.Layers[0].MediaType = "application/octet-stream", "" }, "", ""},
		"unknown layer":       {func(m *manifest) { m.Layers[0].MediaType = "application/x-secret" }, api.KindUnsupported, `"application/x-secret"`},
		"a chart":             {func(m *manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }, api.KindUnsupported, "helm"},
		"schema 1":            {func(m *manifest) { m.MediaType = types.DockerManifestSchema1 }, api.KindUnsupported, "schema 1"},
		"no image":            {func(m *manifest) { m.MediaType = "text/plain" }, api.KindUnsupported, "it is not an image"},
		"too many layers":     {func(m *manifest) { m.Layers = slices.Repeat(m.Layers, 600) }, api.KindInvalid, "more than 512"},
		"layer has no digest": {func(m *manifest) { m.Layers[0].Digest = v1.Hash{} }, api.KindInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fx := newFixture(t, registrytest.Options{})
			put := func(data string) v1.Descriptor {
				h := must[v1.Hash](t)(v1.NewHash(must[string](t)(fx.PutBlob("app", []byte(data)))))
				return v1.Descriptor{MediaType: types.OCILayer, Digest: h, Size: int64(len(data))}
			}
			m := manifest{2, types.OCIManifestSchema1, put(config), []v1.Descriptor{put(layer)}}
			m.Config.MediaType = types.OCIConfigJSON
			tt.lie(&m)
			raw := must[[]byte](t)(json.Marshal(m))
			fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.Contains(r.URL.Path, "/manifests/") {
					rw.Header().Set("Content-Type", string(m.MediaType))
					_, _ = rw.Write(raw)
					return
				}
				next.ServeHTTP(rw, r)
			})
			_, err := fx.pull(fx.client(), "app:1", silent)
			if tt.kind == "" && err == nil {
				return
			}
			expect(t, err, tt.kind, tt.words, "")
			if left, _ := os.ReadDir(fx.dir); len(left) > 1 {
				t.Errorf("%d files are left", len(left))
			}
		})
	}
}

// TestServedAs has a registry that knows no media types, as static file servers are.
func TestServedAs(t *testing.T) {
	for _, served := range []string{"text/plain; charset=utf-8", "application/json", "application/octet-stream", ""} {
		fx := newFixture(t, registrytest.Options{})
		image := fx.push("app:1", "", 1)
		var m map[string]any
		if err := json.Unmarshal(must[[]byte](t)(image.RawManifest()), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, "mediaType")
		raw := must[[]byte](t)(json.Marshal(m))
		index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}]}`, oci.Digest(raw), len(raw))
		fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/manifests/1"):
				rw.Header()["Content-Type"] = []string{served}
				_, _ = rw.Write([]byte(index))
			case strings.Contains(r.URL.Path, "/manifests/sha256:"):
				rw.Header()["Content-Type"] = []string{served}
				_, _ = rw.Write(raw)
			default:
				next.ServeHTTP(rw, r)
			}
		})
		if _, err := fx.pull(fx.client(), "app:1", silent); err != nil {
			t.Errorf("%q: %v", served, err)
		}
	}
}

// TestIndexOfOthers has indexes with things that say no platform before the image:
// an artifact, an image for another machine.
func TestIndexOfOthers(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for name, platform := range map[string]*v1.Platform{"explicit": {OS: "Linux", Architecture: "x86_64"}, "implicit": nil} {
		t.Run(name, func(t *testing.T) {
			if platform != nil && runtime.GOARCH != "amd64" {
				t.Skip("NOT RUN: the other name of this platform is none of amd64's")
			}
			fx := newFixture(t, registrytest.Options{})
			image, foreign := fx.push("app:right", "", 1), fx.push("app:foreign", other, 1)
			artifact := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x-sbom",` +
				`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + oci.Digest([]byte("{}")) + `","size":2},"layers":[]}`)
			if err := fx.PutManifest("app", "sbom", string(types.OCIManifestSchema1), artifact); err != nil {
				t.Fatal(err)
			}
			var all []v1.Descriptor
			all = append(all, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: must[v1.Hash](t)(v1.NewHash(oci.Digest(artifact))), Size: int64(len(artifact))})
			for _, i := range []v1.Image{foreign, image} {
				d := v1.Descriptor{MediaType: must[types.MediaType](t)(i.MediaType()), Digest: must[v1.Hash](t)(i.Digest()), Size: must[int64](t)(i.Size())}
				if i == image {
					d.Platform = platform
				}
				all = append(all, d)
			}
			raw := must[[]byte](t)(json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: all}))
			if err := fx.PutManifest("app", "1", string(types.OCIImageIndex), raw); err != nil {
				t.Fatal(err)
			}
			got, err := fx.pull(fx.client(), "app:1", silent)
			if err != nil || got.ManifestDigest != must[v1.Hash](t)(image.Digest()).String() {
				t.Errorf("got %s, %v", got.ManifestDigest, err)
			}
		})
	}
}

// TestWrong has documents and layers that are not what their digests say.
func TestWrong(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	image := fx.push("app:1", "", 1)
	digest := must[v1.Hash](t)(image.Digest())
	for name, part := range map[string]string{"manifest": "/manifests/", "configuration": must[v1.Hash](t)(image.ConfigName()).Hex,
		"layer": must[v1.Hash](t)(must[[]v1.Layer](t)(image.Layers())[0].Digest()).Hex} {
		t.Run(name, func(t *testing.T) {
			fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if !strings.Contains(r.URL.Path, part) {
					next.ServeHTTP(rw, r)
					return
				}
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				body := rec.Body.Bytes()
				body[len(body)/2] ^= 1
				rw.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
				_, _ = rw.Write(body)
			})
			_, err := fx.pull(fx.client(), "app@"+digest.String(), silent)
			expect(t, err, api.KindInvalid, "wrong digest", "try again")
			if left, _ := os.ReadDir(fx.dir); len(left) > 0 {
				t.Errorf("%d files are left", len(left))
			}
		})
	}
	// Manifests and configurations without end.
	fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			_, _ = io.Copy(rw, endless{})
			return
		}
		next.ServeHTTP(rw, r)
	})
	_, err := fx.pull(fx.client(), "app:1", silent)
	expect(t, err, api.KindInvalid, "larger than 4 MiB", "push")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestIndexInIndex bounds how deep indexes lie in one another.
func TestIndexInIndex(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.Set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			next.ServeHTTP(rw, r)
			return
		}
		inner := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, types.OCIImageIndex)
		for range 9 {
			outer := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`,
				types.OCIImageIndex, types.OCIImageIndex, oci.Digest([]byte(inner)))
			if strings.HasSuffix(r.URL.Path, oci.Digest([]byte(outer))) {
				inner = outer
				break
			}
			inner = outer
		}
		rw.Header().Set("Content-Type", string(types.OCIImageIndex))
		_, _ = io.WriteString(rw, inner)
	})
	_, err := fx.pull(fx.client(), "app:1", silent)
	expect(t, err, api.KindInvalid, "too deep", "push")
}
