package guest_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
)

// startAgent serves an agent on a Unix socket and returns its path.
func startAgent(t testing.TB, o agent.Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- agent.Serve(ctx, o, agent.FromListener(l)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		l.Close()
	})
	return path
}

func connect(t testing.TB, path string) *guest.Link {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	link, err := guest.Connect(ctx, conn, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	return link
}

// result runs a session to its end and returns what it wrote.
func result(t *testing.T, s *guest.Session) (stdout, stderr string, exit guest.Exit, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	done := make(chan struct{})
	go func() { defer close(done); io.Copy(&errs, s.Stderr) }()
	io.Copy(&out, s.Stdout)
	<-done
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	exit, err = s.Wait(ctx)
	s.Close()
	return out.String(), errs.String(), exit, err
}

func TestExecBasics(t *testing.T) {
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), BootID: "b1"}))
	client := &guest.Client{Dial: link.Open}
	health, err := client.Health(t.Context())
	if err != nil || health.BootID != "b1" || health.MemoryBytes == 0 {
		t.Fatalf("Health = %+v, %v", health, err)
	}
	s, err := client.Exec(t.Context(), api.Exec{Argv: []string{"sh", "-c", "cat; echo err >&2; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { io.WriteString(s.Stdin, "hello"); s.Stdin.Close() }()
	out, errs, exit, err := result(t, s)
	if out != "hello" || errs != "err\n" || exit.Code != 3 || err != nil {
		t.Fatalf("got %q, %q, %v, %v", out, errs, exit, err)
	}
}
