package daemonstart

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// TestAManagedDaemonIsWaitedFor: a command that comes while systemd restarts the
// daemon goes on as soon as it listens, whatever is there in the meantime.
func TestAManagedDaemonIsWaitedFor(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, run string){
		"no directory": func(*testing.T, string) {},
		"no socket":    func(t *testing.T, run string) { must(t, os.MkdirAll(run, 0o700)) },
		"a socket nobody listens on": func(t *testing.T, run string) {
			must(t, os.MkdirAll(run, 0o700))
			l, err := fsx.ListenUnix(filepath.Join(run, "bangerd.sock"))
			must(t, err)
			l.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			p := paths.Paths{Data: base, Run: filepath.Join(base, "a", "run"), Managed: true}
			before(t, p.Run)
			began := make(chan struct{})
			go func() {
				<-began
				time.Sleep(20 * time.Millisecond) // the wait has begun, most likely
				_ = os.MkdirAll(p.Run, 0o700)
				l, err := fsx.ListenUnix(p.Socket())
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { l.Close() })
				_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"pid":7}`)) }))
			}()
			close(began)
			status, err := Client(p).Daemon().Status(t.Context())
			if err != nil || status.PID != 7 {
				t.Fatal(status, err)
			}
		})
	}
}

func TestAManagedDaemonThatDoesNotCome(t *testing.T) {
	p := paths.Paths{Data: t.TempDir(), Run: t.TempDir(), Managed: true}
	managed := Daemon{Paths: p}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	// net/http would let the dial run on for its full time.
	if _, err := managed.await(ctx); api.KindOf(err) != api.KindCanceled {
		t.Error(err)
	}
	short, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errAway)
	defer cancel()
	if _, err := managed.await(short); err == nil || !strings.Contains(api.AsError(err).Hint, "systemctl status bangerd") {
		t.Error(err)
	}
	began := time.Now()
	if _, err := Running(p).Daemon().Status(t.Context()); api.KindOf(err) != api.KindNotFound || time.Since(began) > time.Second {
		t.Error("a client that starts nothing does not wait either:", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
