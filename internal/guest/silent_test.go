package guest_test

import (
	"testing"
	"time"

	"banger/api"
	"banger/internal/agentproto"
	"banger/internal/guest"
)

// TestSilentGuest: who waits for a guest that stands still is told so, once, and waits on.
func TestSilentGuest(t *testing.T) {
	stop := make(chan struct{})
	link := hostile(t, func(*agentproto.Session) { <-stop })
	defer close(stop)
	said := make(chan string, 2)
	client := &guest.Client{Dial: link.Open, VM: func() string { return "dev" }, Silent: func(vm string) { said <- vm }}
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
