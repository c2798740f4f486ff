package client

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"banger/api"
	"banger/internal/host/fsx"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func first(w http.ResponseWriter, id string) {
	_ = json.NewEncoder(w).Encode(api.Event{Operation: &api.Operation{ID: id, Status: api.OpRunning}})
	_ = http.NewResponseController(w).Flush()
}

func final(w http.ResponseWriter, o api.Operation, result *api.Result) {
	_ = json.NewEncoder(w).Encode(api.Event{Operation: &o, Result: result})
	_ = http.NewResponseController(w).Flush()
}

// serve answers with handler on a socket of its own.
func serve(t *testing.T, handler http.Handler) *Client {
	t.Helper()
	return serveWith(t, Options{}, handler)
}

func serveWith(t *testing.T, o Options, handler http.Handler) *Client {
	t.Helper()
	o.Socket = filepath.Join(t.TempDir(), "bangerd.sock")
	l, err := fsx.ListenUnix(o.Socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, BaseContext: func(net.Listener) context.Context { return context.Background() }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return With(o)
}
