package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/host/fsx"
	"banger/internal/imageconfig"
	"banger/internal/paths"
)

// fixture is a daemon made of a route table, and an agent on this machine that
// plays the guest of every VM.
type fixture struct {
	*http.ServeMux
	mu    sync.Mutex
	calls []string
	image *api.ImageConfig // of the VM's image
	name  string           // the guest's alone; empty: it answers to any
	conns []net.Conn       // of its streams
}

var then = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// vmID is the id of every VM.
const vmID = "0123456789ab"

func vm(name string, state api.State) api.VM {
	return api.VM{
		ID: vmID, Name: name, State: state, Image: "debian", ImageDigest: "sha256:aabbccddeeff00112233",
		Kernel: "6.1.0-37-cloud-amd64", Driver: "qemu", Accel: "tcg", DiskDriver: "qcow2",
		VCPUs: 2, MemoryBytes: 1 << 30, DiskBytes: 8 << 30, CreatedAt: then,
	}
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	t.Setenv("BANGER_HOME", t.TempDir())
	p, err := paths.User()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := fsx.ListenUnix(p.Socket())
	if err != nil {
		t.Fatal(err)
	}
	w := &fixture{ServeMux: http.NewServeMux()}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.calls = append(w.calls, r.Method+" "+r.RequestURI)
		w.mu.Unlock()
		w.ServeHTTP(rw, r)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return w
}

// called is what was asked of the daemon.
func (w *fixture) called() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.calls, "\n")
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func fail(w http.ResponseWriter, e *api.Error) {
	w.WriteHeader(e.Kind.HTTPStatus())
	answer(w, e)
}

// done answers with an operation that is over.
func done(w http.ResponseWriter, err *api.Error, result *api.Result) {
	status := api.OpDone
	if err != nil {
		status = api.OpFailed
	}
	answer(w, api.Event{Operation: &api.Operation{ID: "op1", Status: status, Error: err}, Result: result})
}

// guest adds a running VM whose agent runs commands on this machine.
func (w *fixture) guest(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "guest")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- agent.Serve(ctx, agent.Options{Root: root, BootID: "b1"}, agent.FromListener(l))
	}()
	t.Cleanup(func() {
		cancel()
		<-served
		l.Close()
	})
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	link, err := guest.Connect(t.Context(), conn, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	w.HandleFunc("POST /v1/vms/{vm}/stream", func(rw http.ResponseWriter, r *http.Request) {
		called := w.find(r.PathValue("vm"))
		if called == "" {
			fail(rw, api.Errorf(api.KindNotFound, "no VM named %q", r.PathValue("vm")))
			return
		}
		channel, err := link.Open(r.Context())
		if err != nil {
			fail(rw, api.AsError(err))
			return
		}
		defer channel.Close()
		client, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		w.mu.Lock()
		w.conns = append(w.conns, client)
		w.mu.Unlock()
		_, _ = io.WriteString(client, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: banger-stream\r\n"+
			api.VMIDHeader+": "+vmID+"\r\n"+api.VMNameHeader+": "+called+"\r\n"+
			imageconfig.Header+": "+imageconfig.FormatHeader(w.image)+"\r\n\r\n")
		go func() { _, _ = io.Copy(channel, client); channel.Close() }()
		_, _ = io.Copy(client, channel)
	})
}

// find returns what the guest is called, if it is meant.
func (w *fixture) find(ref string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.name == "" || ref == w.name {
		return ref
	}
	if ref == vmID {
		return w.name
	}
	return ""
}

// rename gives the guest a name, the only one it answers to from now on, and breaks its
// streams, as a restart of the daemon does.
func (w *fixture) rename(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.name = name
	for _, c := range w.conns {
		c.Close()
	}
}

// run runs one command line and returns what it printed and ended with.
func run(args ...string) (stdout, stderr string, status int) {
	return runWith(strings.NewReader(""), args...)
}

func runWith(stdin io.Reader, args ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	status = Main(args, stdin, &out, &errs)
	return out.String(), errs.String(), status
}
