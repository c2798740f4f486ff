package registry

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"

	"banger/api"
	"banger/internal/image/oci/registrytest"
)

// config is docker-registry's (/usr/share/doc/docker-registry/configuration.md.gz).
const config = `version: 0.1
storage:
  filesystem:
    rootdirectory: %[1]s/data
http:
  addr: 127.0.0.1:0
  tls:
    certificate: %[1]s/cert.pem
    key: %[1]s/key.pem
auth:
  htpasswd:
    realm: test
    path: %[1]s/htpasswd
`

// TestDockerRegistry pulls from the registry that people run themselves, with a
// password and a certificate of an authority of its own.
func TestDockerRegistry(t *testing.T) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("NOT RUN: there is no docker-registry: apt-get install docker-registry (it also starts one, on port 5000)")
	}
	fx := newFixture(t, registrytest.Options{}) // for its home; the registry is the other
	dir := t.TempDir()
	pool := certify(t, dir)
	hash := must[[]byte](t)(bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost))
	for file, text := range map[string]string{"config.yml": fmt.Sprintf(config, dir), "htpasswd": "me:" + string(hash) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host := serve(t, program, filepath.Join(dir, "config.yml"))

	ref := must[name.Reference](t)(name.ParseReference(host + "/team/app:1"))
	via := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer via.CloseIdleConnections()
	image := fx.push("", "", 3)
	err = remote.Write(ref, image, remote.WithTransport(via), remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: "me", Password: "secret"})))
	if err != nil {
		t.Fatal(err)
	}

	ours := must[Reference](t)(Parse(host + "/team/app:1"))
	pull := func(r Reference, report api.Report) error {
		_, err := pullAs(t.Context(), t, fx.client(), r, report)
		return err
	}
	expect(t, pull(ours, silent), api.KindDenied, "an authority that this machine does not trust", "registry_ca")
	fx.caFile = filepath.Join(dir, "cert.pem")
	expect(t, pull(ours, silent), api.KindDenied, "does not allow it", "docker login "+host)
	fx.dockerConfig(fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6c2VjcmV0"}}}`, host))
	if err := pull(ours, silent); err != nil {
		t.Fatal(err)
	}
	expect(t, pull(must[Reference](t)(Parse(host+"/team/app:2")), silent), api.KindNotFound, "has no such name or tag", "tag")
	expect(t, pull(must[Reference](t)(Parse(host+"/team/none")), silent), api.KindNotFound, "has no such name or tag", "tag")

	// It sends the second half of a layer when the first is there.
	layers := must[[]v1.Layer](t)(image.Layers())
	for _, l := range layers {
		file := filepath.Join(fx.dir, must[v1.Hash](t)(l.Digest()).Hex)
		if err := os.Truncate(file, must[int64](t)(l.Size())/2); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file, file+".part"); err != nil {
			t.Fatal(err)
		}
	}
	first := int64(0)
	err = pull(ours, func(p api.Progress) {
		if first == 0 {
			first = p.Done
		}
	})
	if err != nil || first < 3<<19 {
		t.Errorf("began at %d: %v", first, err)
	}
}

// certify makes a certificate for this machine that signs itself.
func certify(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	private := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
	pool := x509.NewCertPool()
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		text := pem.EncodeToMemory(block)
		pool.AppendCertsFromPEM(text)
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// serve runs the registry until the test ends and returns its address, which it
// says itself.
func serve(t *testing.T, program, config string) string {
	t.Helper()
	cmd := exec.Command(program, "serve", config)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // it takes REGISTRY_AUTH_FILE, which is podman's, for a setting
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said := must[io.ReadCloser](t)(cmd.StderrPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(said)
	var all strings.Builder
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return m[1]
		}
	}
	t.Fatalf("docker-registry ended:\n%s", all.String())
	return ""
}
