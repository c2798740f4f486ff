package guest_test

import (
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/stdio"
)

// TestUnresponsiveGuest: a client that waits for a guest that hangs is warned once, and
// continues to wait.
func TestUnresponsiveGuest(t *testing.T) {
	stop := make(chan struct{})
	link := hostile(t, func(*agentproto.Session) { <-stop })
	defer close(stop)
	said := make(chan string, 2)
	client := &guest.Client{Dial: link.Open, VM: func() string { return "dev" }, Unresponsive: func(vm string) { said <- vm }}
	s, err := client.Exec(t.Context(), api.Exec{Argv: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	select {
	case vm := <-said:
		if vm != "dev" {
			t.Errorf("%q", vm)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	select {
	case <-said:
		t.Error("twice")
	case <-time.After(50 * time.Millisecond):
	}
}

// TestUnansweredGuest: the wait for a guest that stands still has an end, and that is the
// same whatever is waited for.
func TestUnansweredGuest(t *testing.T) {
	stop := make(chan struct{})
	link := hostile(t, func(*agentproto.Session) { <-stop })
	defer close(stop)
	client := &guest.Client{Dial: link.Open, VM: func() string { return "dev" }, Answer: 50 * time.Millisecond}
	near, far := net.Pipe()
	defer near.Close()
	for what, do := range map[string]func() error{
		"exec": func() error {
			s, err := client.Exec(t.Context(), api.Exec{Argv: []string{"true"}})
			if err != nil {
				return err
			}
			defer s.Close()
			_, err = s.Wait(t.Context())
			return err
		},
		"sessions": func() error { _, err := client.Sessions(t.Context()); return err },
		"ports":    func() error { _, err := client.Ports(t.Context()); return err },
		"connect": func() error {
			return client.Connect(t.Context(), far, stdio.Endpoint{Network: "tcp", Address: "127.0.0.1:80"})
		},
		"listen": func() error {
			_, err := client.Listen(t.Context(), stdio.Endpoint{Network: "tcp", Address: "127.0.0.1:80"})
			return err
		},
		"start": func() error {
			_, _, err := client.Start(t.Context(), api.Exec{Argv: []string{"true"}}, io.Discard)
			return err
		},
		"leave":   func() error { return client.Leave(t.Context(), "abcd", nil) },
		"copy in": func() error { return client.CopyIn(t.Context(), t.TempDir(), "/x", guest.CopyOptions{}) },
		"copy out": func() error {
			return client.CopyOut(t.Context(), "/x", filepath.Join(t.TempDir(), "x"), guest.CopyOptions{})
		},
	} {
		err := do()
		e := api.AsError(err)
		if e == nil || e.Kind != api.KindTimeout || e.Message != "the guest of VM dev does not answer" || e.Hint == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
