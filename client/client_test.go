package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
)

func TestErrorsKeepTheirKindAndHint(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		e := api.Errorf(api.KindNotFound, "no VM %q", "dev").WithHint("banger vm list")
		w.WriteHeader(e.Kind.HTTPStatus())
		_ = json.NewEncoder(w).Encode(e)
	}))
	for name, call := range map[string]func() error{
		"show":   func() error { _, err := c.VMs().Show(t.Context(), "dev"); return err },
		"create": func() error { _, err := c.VMs().Create(t.Context(), api.CreateVM{}, nil); return err },
		"logs":   func() error { return c.VMs().Logs(t.Context(), "dev", false, -1, io.Discard) },
		"stream": func() error { _, err := c.Guest("dev").Dial(t.Context()); return err },
		"delete": func() error { return c.VMs().Delete(t.Context(), "dev", true, nil) },
	} {
		e := api.AsError(call())
		if e == nil || e.Kind != api.KindNotFound || e.Message != `no VM "dev"` || e.Hint != "banger vm list" {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

func TestAnswersThatAreNoneOfOurs(t *testing.T) {
	for name, body := range map[string]string{"text": "go away", "empty": "", "other JSON": "[1]", "no message": "{}"} {
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, body)
		}))
		if _, err := c.VMs().List(t.Context()); err == nil || !strings.Contains(err.Error(), "418") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRequests(t *testing.T) {
	var got []string
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body)))
		final(w, api.Operation{ID: "op1", Status: api.OpDone}, &api.Result{VM: &api.VM{}})
	}))
	ctx := t.Context()
	_, _ = c.VMs().Show(ctx, "../images/x?y")
	_ = c.VMs().Delete(ctx, "dev", true, nil)
	_ = c.VMs().Delete(ctx, "dev", false, nil)
	_, _ = c.VMs().Stop(ctx, "dev", api.StopVM{GraceSeconds: 3}, nil)
	_, _ = c.VMs().Rename(ctx, "dev", "web")
	_, _ = c.VMs().Commit(ctx, "dev", api.CommitVM{Name: "dev-ready"}, nil)
	_ = c.VMs().Logs(ctx, "dev", true, 5, io.Discard)
	_ = c.Images().Delete(ctx, "sha256:00")
	_, _ = c.VMs().Prune(ctx, nil)
	want := []string{
		"GET /v1/vms/..%2Fimages%2Fx%3Fy",
		"DELETE /v1/vms/dev?force=1",
		"DELETE /v1/vms/dev",
		`POST /v1/vms/dev/stop {"grace_seconds":3}`,
		`POST /v1/vms/dev/rename {"name":"web"}`,
		`POST /v1/vms/dev/commit {"name":"dev-ready"}`,
		"GET /v1/vms/dev/logs?follow=1&tail=5",
		"DELETE /v1/images/sha256:00",
		"POST /v1/vms/prune",
	}
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
}

func TestOperationReportsAndResults(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		first(w, "op1")
		_ = json.NewEncoder(w).Encode(api.Event{Progress: &api.Progress{Step: "disk", Done: 1, Total: 2}})
		final(w, api.Operation{ID: "op1", Status: api.OpDone}, &api.Result{VM: &api.VM{Name: "dev"}})
	}))
	var steps []string
	vm, err := c.VMs().Create(t.Context(), api.CreateVM{}, func(p api.Progress) { steps = append(steps, p.Step) })
	if err != nil || vm.Name != "dev" || strings.Join(steps, " ") != "disk" {
		t.Errorf("got %+v, %v, steps %v", vm, err, steps)
	}
}

func TestOperationThatFails(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		final(w, api.Operation{ID: "op1", Status: api.OpFailed, Error: api.Errorf(api.KindNoSpace, "cannot make disk: full")}, nil)
	}))
	if _, err := c.VMs().Create(t.Context(), api.CreateVM{}, nil); api.KindOf(err) != api.KindNoSpace {
		t.Errorf("got %v", err)
	}
}

func TestGivingUpCancelsTheOperation(t *testing.T) {
	undone := make(chan struct{})
	began := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/vms", func(w http.ResponseWriter, _ *http.Request) {
		first(w, "op1")
		close(began)
		<-undone
		final(w, api.Operation{ID: "op1", Status: api.OpFailed, Error: api.Errorf(api.KindCanceled, "cancelled, nothing is left")}, nil)
	})
	mux.HandleFunc("DELETE /v1/operations/op1", func(http.ResponseWriter, *http.Request) { close(undone) })
	c := serve(t, mux)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := c.VMs().Create(ctx, api.CreateVM{}, nil)
	if e := api.AsError(err); e == nil || e.Kind != api.KindCanceled || e.Message != "cancelled, nothing is left" {
		t.Errorf("got %v", err)
	}
}

// The id is not known when the user gives up: it is cancelled once it is.
func TestGivingUpBeforeTheFirstEvent(t *testing.T) {
	undone, gaveUp, asked := make(chan struct{}), make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/vms", func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-gaveUp
		time.Sleep(20 * time.Millisecond) // the client has noticed by now, or soon will: both must work
		first(w, "op1")
		<-undone
		final(w, api.Operation{ID: "op1", Status: api.OpFailed, Error: api.Errorf(api.KindCanceled, "undone")}, nil)
	})
	mux.HandleFunc("DELETE /v1/operations/op1", func(http.ResponseWriter, *http.Request) { close(undone) })
	c := serve(t, mux)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
		close(gaveUp)
	}()
	if _, err := c.VMs().Create(ctx, api.CreateVM{}, nil); err == nil || err.Error() != "undone" {
		t.Errorf("got %v", err)
	}
}

// An operation that kills every daemon is given up after a few.
func TestOperationThatAlwaysBreaks(t *testing.T) {
	c := serveWith(t, Options{Log: "/var/log/it"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		first(w, "op1")
		panic(http.ErrAbortHandler)
	}))
	_, err := c.VMs().Create(t.Context(), api.CreateVM{}, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot follow") || api.AsError(err).Hint != "cat /var/log/it" {
		t.Errorf("got %v", err)
	}
}

// TestWithoutADaemon: a client starts nothing, and says of what kind the failure is.
func TestWithoutADaemon(t *testing.T) {
	c := New(filepath.Join(t.TempDir(), "no", "bangerd.sock"))
	if _, err := c.VMs().List(t.Context()); api.KindOf(err) != api.KindNotFound || !strings.Contains(err.Error(), "the daemon is not running") {
		t.Errorf("got %v", err)
	}
	refused := api.Errorf(api.KindConflict, "not now")
	c = With(Options{Dial: func(context.Context) (net.Conn, error) { return nil, refused }})
	if _, err := c.Daemon().Status(t.Context()); !errors.Is(err, refused) {
		t.Errorf("what Dial returned became %v", err)
	}
}

func TestStreamIsRawBytesBothWays(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != api.StreamProtocol {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		// The first bytes come in one piece with the answer.
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: banger-stream\r\n\r\nhello\n")
		_, _ = io.Copy(conn, buf)
	}))
	conn, err := c.Guest("dev").Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "\x00\xff\n")
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(bufio.NewReader(conn))
	if string(all) != "hello\n\x00\xff\n" || err != nil {
		t.Errorf("got %q, %v", all, err)
	}
}

// TestGuestStaysWithItsVM: the name that it was first asked for by may be another VM's.
func TestGuestStaysWithItsVM(t *testing.T) {
	name, asked := "dev", ""
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		if name == "" {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(api.Errorf(api.KindNotFound, "no such VM"))
			return
		}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", api.StreamProtocol)
		w.Header().Set(api.VMIDHeader, "0123456789ab")
		w.Header().Set(api.VMNameHeader, name)
		w.WriteHeader(http.StatusSwitchingProtocols)
	}))
	g := c.Guest("dev")
	dial := func(want string) {
		t.Helper()
		conn, err := g.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if asked != "/v1/vms/"+want+"/stream" || g.Name() != name {
			t.Errorf("asked for %s, and calls it %s", asked, g.Name())
		}
	}
	dial("dev")
	name = "web"
	dial("0123456789ab")
	name = ""
	if _, err := g.Dial(t.Context()); err == nil || err.Error() != "VM web was deleted" {
		t.Errorf("%v", err)
	}
}

func TestWaitRidesOutARestart(t *testing.T) {
	var tries atomic.Int32
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tries.Add(1) < 3 {
			panic(http.ErrAbortHandler)
		}
		_ = json.NewEncoder(w).Encode(api.VM{State: api.StateStopped})
	}))
	if vm, err := c.VMs().Wait(t.Context(), "dev"); err != nil || vm.State != api.StateStopped {
		t.Errorf("got %+v, %v", vm, err)
	}
}

func TestOtherVersionIsSaidOnce(t *testing.T) {
	var said []string
	c := serveWith(t, Options{Version: "1.0", OnOtherVersion: func(v string) { said = append(said, v) }}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.VersionHeader, "2.0")
		fmt.Fprint(w, "{}")
	}))
	for range 3 {
		if _, err := c.VMs().List(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(said) != 1 || said[0] != "2.0" {
		t.Errorf("said %q", said)
	}
}

func FuzzAnswerError(f *testing.F) {
	f.Add(`{"kind":"invalid","message":"x"}`)
	f.Add(`{"kind":1}`)
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, body string) {
		err := answerError(&http.Response{Status: "500 Oops", Body: io.NopCloser(strings.NewReader(body))})
		var e *api.Error
		if !errors.As(err, &e) || e.Message == "" {
			t.Fatalf("%q gives %v", body, err)
		}
	})
}
