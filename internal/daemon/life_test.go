package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// soon bounds what must happen at once, on a busy machine.
const soon = 20 * time.Second

func TestSecondDaemonIsRefused(t *testing.T) {
	r := newRig(t)
	err := Run(context.Background(), r.fake.program(), r.env, func(error) { t.Error("two daemons are ready") })
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second daemon: %v", err)
	}
	if status, _ := r.do("GET", "/v1/vms", ""); status != 200 {
		t.Errorf("the first daemon answers %d", status)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	env := testEnv(t)
	if err := os.MkdirAll(env.Paths.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := fsx.ListenUnix(env.Paths.Socket())
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // the file stays, as after kill -9
	ctx, cancel := context.WithCancel(context.Background())
	if err := Run(ctx, newFakes(env.Log).program(), env, func(error) { cancel() }); err != nil {
		t.Error(err)
	}
}

func TestFailedStartIsToldAndLeavesNothing(t *testing.T) {
	env := testEnv(t)
	closed := false
	for name, program := range map[string]Program{
		"build": {Build: func(context.Context, Env) (*Services, error) {
			return nil, api.Errorf(api.KindUnsupported, "newer schema").WithHint("update")
		}},
		"recover": {Build: func(context.Context, Env) (*Services, error) {
			return &Services{
				Recover: func(context.Context) error { return api.Errorf(api.KindUnsupported, "newer schema").WithHint("update") },
				Close:   func() error { closed = true; return nil },
			}, nil
		}},
	} {
		err := Run(context.Background(), program, env, func(error) { t.Error("ready") })
		if e := api.AsError(err); e.Kind != api.KindUnsupported || e.Hint != "update" {
			t.Errorf("%s: %+v", name, e)
		}
		if _, err := os.Lstat(env.Paths.Socket()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the socket is still there", name)
		}
	}
	if !closed {
		t.Error("the services were not closed")
	}
}

func TestReadinessIsToldOnce(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "ready\n"},
		{api.Errorf(api.KindConflict, "taken").WithHint("wait"), `{"kind":"conflict","message":"taken","hint":"wait"}` + "\n"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ready := &readiness{file: w}
		ready.tell(c.err)
		ready.tell(nil)
		got, _ := io.ReadAll(r)
		r.Close()
		if string(got) != c.want {
			t.Errorf("told %q, want %q", got, c.want)
		}
	}
	t.Setenv(api.ReadyEnv, "")
	takeReadiness().tell(nil)
}

func TestRequestsWaitForRecovery(t *testing.T) {
	env := testEnv(t)
	program, recovering, recovered := newFakes(env.Log).program(), make(chan struct{}), make(chan struct{})
	build := program.Build
	program.Build = func(ctx context.Context, env Env) (*Services, error) {
		svc, err := build(ctx, env)
		svc.Recover = func(context.Context) error { close(recovering); <-recovered; return nil }
		return svc, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, program, env, func(error) {}) }()
	<-recovering
	conn, err := fsx.DialUnix(ctx, env.Paths.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /v1/vms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _ := conn.Read(make([]byte, 1)); n != 0 {
		t.Error("answered before recovery")
	}
	conn.SetReadDeadline(time.Now().Add(soon))
	close(recovered)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("after recovery: %v %v", res, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A request that meets a daemon which is told to end while it starts is the next daemon's:
// no answer makes its client ask again.
func TestToldToEndWhileItStarts(t *testing.T) {
	env := testEnv(t)
	program, recovering := newFakes(env.Log).program(), make(chan struct{})
	build := program.Build
	program.Build = func(ctx context.Context, env Env) (*Services, error) {
		svc, err := build(ctx, env)
		svc.Recover = func(ctx context.Context) error { close(recovering); <-ctx.Done(); return ctx.Err() }
		return svc, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, program, env, func(error) { t.Error("ready") }) }()
	<-recovering
	conn, err := fsx.DialUnix(ctx, env.Paths.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /v1/vms HTTP/1.1\r\nHost: localhost\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(soon))
	time.AfterFunc(20*time.Millisecond, cancel) // when the request has been read
	if answer, err := io.ReadAll(conn); len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answered %q, %v", answer, err)
	}
	if err := <-ended; api.KindOf(err) != api.KindCanceled {
		t.Errorf("it ended with %v", err)
	}
}

// What fails only as the daemon ends is no answer: the client is to ask the next one.
func TestWhatTheDaemonsEndPreventsIsCut(t *testing.T) {
	for _, c := range []struct {
		err            error
		stopping, want bool
	}{
		{fmt.Errorf("cannot look: %w", context.Canceled), true, true},
		{fmt.Errorf("cannot look: %w", context.Canceled), false, false},
		{api.Errorf(api.KindNotFound, "no VM"), true, false},
	} {
		s := NewServer(Program{}, testEnv(t))
		if c.stopping {
			s.Stop()
		}
		cut := func() (cut bool) {
			defer func() { cut = recover() == http.ErrAbortHandler }()
			s.conclude(&writer{ResponseWriter: httptest.NewRecorder()}, httptest.NewRequest("GET", "/v1/vms", nil), c.err)
			return false
		}()
		if cut != c.want {
			t.Errorf("%v, stopping %t: cut %t", c.err, c.stopping, cut)
		}
	}
}

func TestStopCutsWhatIsOpenEnded(t *testing.T) {
	r := newRig(t)
	r.fake.vms.console = t.TempDir() + "/console.log"
	if err := os.WriteFile(r.fake.vms.console, []byte("booting\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.fake.work.step = func(ctx context.Context, _ api.Report) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	cut := make(chan error, 3)
	for _, c := range [][2]string{{"GET", "/v1/vms/fox/wait"}, {"GET", "/v1/vms/fox/logs?follow=1"}, {"POST", "/v1/vms/fox/start"}} {
		go func() {
			conn, err := fsx.DialUnix(context.Background(), r.env.Paths.Socket())
			if err != nil {
				cut <- err
				return
			}
			defer conn.Close()
			io.WriteString(conn, c[0]+" "+c[1]+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				_, err = io.ReadAll(res.Body)
			}
			cut <- err
		}()
	}
	<-r.fake.work.asked // the operation runs
	if status, _ := r.do("POST", "/v1/daemon/stop", ""); status != 204 {
		t.Errorf("stop: %d", status)
	}
	for range 3 {
		select {
		case err := <-cut:
			if err == nil {
				t.Error("an answer was ended as though it were complete")
			}
		case <-time.After(soon):
			t.Fatal("an open-ended request outlives the daemon")
		}
	}
}

func TestOperationOutlivesItsClient(t *testing.T) {
	r := newRig(t)
	release := make(chan struct{})
	r.fake.work.step = func(ctx context.Context, _ api.Report) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	begin := func() string {
		res, err := r.http.Post("http://localhost/v1/vms", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() // the client leaves
		var first api.Event
		if err := json.NewDecoder(res.Body).Decode(&first); err != nil || first.Operation == nil {
			t.Fatalf("first event %+v, %v", first, err)
		}
		return first.Operation.ID
	}
	kept, given := begin(), begin()
	if status, _ := r.do("DELETE", "/v1/operations/"+given, ""); status != 204 {
		t.Errorf("cancel: %d", status)
	}
	_, body := r.do("GET", "/v1/operations/"+given+"/events", "")
	all := events(t, strings.NewReader(body))
	if last := all[len(all)-1].Operation; last == nil || last.Error == nil || last.Error.Kind != api.KindCanceled {
		t.Errorf("cancelled operation: %s", body)
	}
	close(release)
	_, body = r.do("GET", "/v1/operations/"+kept+"/events", "")
	all = events(t, strings.NewReader(body))
	if last := all[len(all)-1].Operation; last == nil || last.Status != api.OpDone {
		t.Errorf("operation whose client left: %s", body)
	}
}

func TestLogs(t *testing.T) {
	r := newRig(t)
	r.fake.vms.console = t.TempDir() + "/console.log"
	if _, body := r.do("GET", "/v1/vms/fox/logs", ""); body != "" {
		t.Errorf("a log that is not there: %q", body)
	}
	if err := os.WriteFile(r.fake.vms.console, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/v1/vms/fox/logs":        "one\ntwo\nthree",
		"/v1/vms/fox/logs?tail=1": "three",
		"/v1/vms/fox/logs?tail=0": "",
	} {
		if _, body := r.do("GET", path, ""); body != want {
			t.Errorf("%s: %q", path, body)
		}
	}
	res, err := r.http.Get("http://localhost/v1/vms/fox/logs?follow=1&tail=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Scan()
	f, err := os.OpenFile(r.fake.vms.console, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("four\n")
	first := lines.Text()
	lines.Scan()
	if first != "three" || lines.Text() != "four" {
		t.Errorf("followed %q, %q", first, lines.Text())
	}
	close(r.fake.vms.done)
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("after the end: %q, %v", lines.Text(), lines.Err())
	}
}
