package agent

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent/process"
)

// screen is a console that can be read while it is written.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) await(t *testing.T, want string) string {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		text := s.buf.String()
		s.mu.Unlock()
		if strings.Contains(text, want) {
			return text
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("no %q in %q", want, text)
		}
	}
}

func (r *rig) background(argv ...string) (guest.Exit, error) {
	r.t.Helper()
	s, err := (&guest.Client{Dial: r.link().Open}).Exec(r.t.Context(), api.Exec{Argv: argv, Main: true, TTY: true, StopSignal: 15})
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	return s.Wait(r.t.Context())
}

// TestMainCommand: it outlives its session, speaks to the console, starts once,
// and ends with the guest, by its signal.
func TestMainCommand(t *testing.T) {
	r := newRig(t, limits{9, detachedFor, lostFor})
	console := &screen{}
	r.s.Console = console
	_, err := r.background("/no/such")
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "/no/such: command not found") {
		t.Errorf("a command that is not there: %v", err)
	}
	console.await(t, "banger-agent: the command did not start: /no/such: command not found\n")
	script := `cat; trap "echo term; exit 3" TERM; echo out; echo err >&2; while :; do sleep 0.05; done`
	for range 2 {
		if exit, err := r.background("sh", "-c", script); err != nil || exit.Code != 0 {
			t.Errorf("%+v, %v", exit, err)
		}
		r.sessionsLeft(0)
	}
	console.await(t, "out\n")
	console.await(t, "err\n")
	r.s.close()
	if text := console.await(t, "sh ended with status 3\n"); strings.Count(text, "out\n") != 1 || !strings.Contains(text, "term\n") {
		t.Errorf("the console says %q", text)
	}
}

func TestMainCommandThatEnds(t *testing.T) {
	r := newRig(t, limits{9, detachedFor, lostFor})
	console := &screen{}
	r.s.Console = console
	if _, err := r.background("sh", "-c", "pwd > here; kill -9 $$"); err != nil {
		t.Error(err)
	}
	console.await(t, "banger-agent: sh ended with status 137\n")
	if here, err := os.ReadFile(filepath.Join(r.s.Root, "here")); err != nil || strings.TrimSpace(string(here)) != r.s.Root {
		t.Errorf("%q, %v", here, err)
	}
}

// TestPatience: at the guest's end a command without a terminal is asked to end by
// SIGTERM, and gets as long as the guest has for it.
func TestPatience(t *testing.T) {
	r := newRigWith(t, limits{9, detachedFor, lostFor}, Options{Patience: func() time.Duration { return 300 * time.Millisecond }})
	script := `trap "echo term > $0" TERM; echo up; while :; do sleep 0.01; done`
	said := filepath.Join(t.TempDir(), "said")
	s := r.exec(r.link().Open, "sh", "-c", script, said)
	if _, err := io.ReadFull(s.Stdout, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.s.close()
	if took := time.Since(began); took < 300*time.Millisecond || took > process.HangUpGrace*4/5 {
		t.Errorf("it took %v", took)
	}
	if text, err := os.ReadFile(said); err != nil || string(text) != "term\n" {
		t.Errorf("%q, %v", text, err)
	}
}
