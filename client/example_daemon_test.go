package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
)

// startDaemon starts a daemon with the VMs dev and web, whose guests are this machine, and
// returns its socket. stop ends it.
func startDaemon() (socket string, stop func()) {
	dir, err := os.MkdirTemp("", "banger-example")
	check(err)
	link, unlink := startAgent(dir)
	socket = filepath.Join(dir, "bangerd.sock")
	l, err := net.Listen("unix", socket)
	check(err)
	server := &http.Server{Handler: routes(link)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	return socket, func() {
		err := server.Close()
		<-ended
		unlink()
		check(errors.Join(err, os.RemoveAll(dir)))
	}
}

// startAgent starts a guest's agent that runs commands on this machine, below dir.
func startAgent(dir string) (link *guest.Link, stop func()) {
	root := filepath.Join(dir, "guest")
	check(os.Mkdir(root, 0o755))
	l, err := net.Listen("unix", filepath.Join(dir, "agent.sock"))
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- agent.Serve(ctx, agent.Options{Root: root, BootID: "1"}, agent.FromListener(l)) }()
	conn, err := net.Dial("unix", l.Addr().String())
	check(err)
	link, err = guest.Connect(ctx, conn, "example")
	check(err)
	return link, func() {
		link.Close()
		cancel()
		<-ended
		l.Close()
	}
}

func routes(link *guest.Link) http.Handler {
	vms := []api.VM{
		{ID: "0123456789ab", Name: "dev", State: api.StateRunning, Image: "debian", VCPUs: 2, MemoryBytes: 1 << 30},
		{ID: "ba9876543210", Name: "web", State: api.StateStopped, Image: "nginx", VCPUs: 1, MemoryBytes: 512 << 20},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/vms", func(w http.ResponseWriter, _ *http.Request) { answer(w, api.VMList{VMs: vms}) })
	mux.HandleFunc("GET /v1/vms/{vm}", func(w http.ResponseWriter, r *http.Request) {
		for _, vm := range vms {
			if vm.Name == r.PathValue("vm") {
				answer(w, vm)
				return
			}
		}
		e := api.Errorf(api.KindNotFound, "no VM named %q", r.PathValue("vm")).WithHint("banger vm list")
		w.WriteHeader(e.Kind.HTTPStatus())
		answer(w, e)
	})
	mux.HandleFunc("POST /v1/vms", func(w http.ResponseWriter, r *http.Request) {
		var req api.CreateVM
		check(json.NewDecoder(r.Body).Decode(&req))
		answer(w, api.Event{Operation: &api.Operation{ID: "1", Status: api.OpRunning}})
		for done := range int64(2) {
			answer(w, api.Event{Progress: &api.Progress{Step: "image", Message: "getting " + req.Image, Done: done + 1, Total: 2, Unit: "bytes"}})
		}
		vm := api.VM{ID: "111111111111", Name: req.Name, State: api.StateRunning}
		answer(w, api.Event{Operation: &api.Operation{ID: "1", Status: api.OpDone}, Result: &api.Result{VM: &vm}})
	})
	mux.HandleFunc("POST /v1/vms/dev/stream", func(w http.ResponseWriter, r *http.Request) { relay(link, w, r) })
	return mux
}

// relay carries bytes between a client and the agent.
func relay(link *guest.Link, w http.ResponseWriter, r *http.Request) {
	channel, err := link.Open(r.Context())
	check(err)
	defer channel.Close()
	conn, _, err := http.NewResponseController(w).Hijack()
	check(err)
	defer conn.Close()
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: banger-stream\r\n\r\n")
	check(err)
	go func() {
		_, _ = io.Copy(channel, conn)
		channel.Close()
	}()
	_, _ = io.Copy(conn, channel)
}

func answer(w io.Writer, v any) { check(json.NewEncoder(w).Encode(v)) }

func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}
