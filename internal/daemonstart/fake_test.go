package daemonstart

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/paths"

	"go.uber.org/goleak"
)

// TestMain makes this program a daemon of its own when it is started as one.
func TestMain(m *testing.M) {
	if behaviour := os.Getenv("FAKE_DAEMON"); behaviour != "" {
		os.Exit(fakeDaemon(behaviour))
	}
	goleak.VerifyTestMain(m)
}

// fakeDaemon does what the client expects of a daemon, or fails to.
func fakeDaemon(behaviour string) int {
	syscall.CloseOnExec(3)
	ready := os.NewFile(3, "ready")
	p, err := paths.User()
	if err != nil {
		return 1
	}
	starts, err := os.OpenFile(filepath.Join(p.Data, "starts"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 1
	}
	fmt.Fprintln(starts, os.Getpid())
	starts.Close()
	switch behaviour {
	case "refuses":
		_ = json.NewEncoder(ready).Encode(api.Errorf(api.KindConflict, "cannot open the store: it is newer").WithHint("update banger"))
		return 1
	case "dies":
		fmt.Fprintln(os.Stderr, "panic: out of luck")
		return 2
	case "is killed": // but for the third
		if started(p) < 3 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	case "is told to end": // but for the third
		if started(p) < 3 {
			_ = json.NewEncoder(ready).Encode(api.Errorf(api.KindCanceled, "it was told to end before it was ready"))
			return 1
		}
	case "is always killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "is second": // to one whose client was killed while it waited
		if started(p) == 1 {
			second := exec.Command("/proc/self/exe")
			second.Args[0] = os.Args[0]
			if second.Start() != nil {
				return 1
			}
			for {
				if conn, err := fsx.DialUnix(context.Background(), p.Socket()); err == nil {
					conn.Close()
					break
				}
				time.Sleep(time.Millisecond)
			}
			_ = json.NewEncoder(ready).Encode(api.Errorf(api.KindConflict, "a daemon is running already"))
			return 1
		}
	}
	l, err := fsx.ListenUnix(p.Socket())
	if err != nil {
		return 1
	}
	fmt.Fprintln(ready, "ready")
	if behaviour == "is killed when it is ready" && started(p) < 3 || behaviour == "is always killed when it is ready" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // before the client reads to the end
		select {}
	}
	ready.Close()
	go func() { _ = http.Serve(l, fakeRoutes()) }()
	time.Sleep(time.Minute) // should the test forget us
	return 0
}

// started is how many daemons of the home have been started.
func started(p paths.Paths) int {
	data, _ := os.ReadFile(filepath.Join(p.Data, "starts"))
	return strings.Count(string(data), "\n")
}

func fakeRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/daemon", func(w http.ResponseWriter, _ *http.Request) {
		home, _ := paths.User()
		dir, _ := os.Getwd()
		_ = json.NewEncoder(w).Encode(api.DaemonStatus{PID: os.Getpid(), Home: home.Data, Commit: dir})
	})
	mux.HandleFunc("POST /v1/daemon/stop", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		p, _ := paths.User()
		_ = os.Remove(p.Socket())
		time.AfterFunc(10*time.Millisecond, func() { os.Exit(0) })
	})
	// The operation outlives this daemon: the first follower sees it die.
	mux.HandleFunc("GET /v1/operations/{id}/events", func(w http.ResponseWriter, r *http.Request) {
		final(w, api.Operation{ID: r.PathValue("id"), Status: api.OpDone}, &api.Result{VM: &api.VM{Name: "survivor"}})
	})
	mux.HandleFunc("POST /v1/vms", func(w http.ResponseWriter, _ *http.Request) {
		first(w, "op1")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	})
	return mux
}

func first(w http.ResponseWriter, id string) {
	_ = json.NewEncoder(w).Encode(api.Event{Operation: &api.Operation{ID: id, Status: api.OpRunning}})
	_ = http.NewResponseController(w).Flush()
}

func final(w http.ResponseWriter, o api.Operation, result *api.Result) {
	_ = json.NewEncoder(w).Encode(api.Event{Operation: &o, Result: result})
	_ = http.NewResponseController(w).Flush()
}

// home gives the test an installation of its own, with this program as its
// daemon, and ends the daemons it starts.
func home(t *testing.T, behaviour string) paths.Paths {
	t.Helper()
	t.Setenv("BANGER_HOME", t.TempDir())
	t.Setenv("FAKE_DAEMON", behaviour)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BANGERD", self)
	p, err := paths.User()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pid := range daemons(t, p) {
			for syscall.Kill(pid, syscall.SIGKILL) == nil { // until it is reaped
				time.Sleep(time.Millisecond)
			}
		}
	})
	return p
}

// daemons are the pids of all daemons that were started.
func daemons(t *testing.T, p paths.Paths) []int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.Data, "starts"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var pids []int
	for line := range strings.Lines(string(data)) {
		var pid int
		if _, err := fmt.Sscan(line, &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}
