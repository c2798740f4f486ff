package guest_test

import (
	"context"
	"net"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/guest/agentproto"
)

func TestPing(t *testing.T) {
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), BootID: "b1"}))
	took, err := (&guest.Client{Dial: link.Open}).Ping(t.Context())
	if err != nil || took <= 0 || took > 10*time.Second {
		t.Error(took, err)
	}
}

// TestPingOfAHostileGuest: it says nothing, something else, or ends the channel.
func TestPingOfAHostileGuest(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(net.Conn)
		kind   api.Kind
	}{
		"nothing": {func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<10)) }, api.KindTimeout},
		"other bytes": {func(conn net.Conn) {
			_, _ = conn.Write(make([]byte, 1<<10))
		}, api.KindInternal},
		"an older agent's error": {func(conn net.Conn) {
			_ = agentproto.WriteMessage(conn, agentproto.Response{Error: api.Errorf(api.KindUnsupported, "the guest's agent does not know the request %q", "echo")})
		}, api.KindInternal},
		"its end": {func(conn net.Conn) { conn.Close() }, api.KindInternal},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		host, agentEnd := net.Pipe()
		go func() {
			var req agentproto.Request
			_ = agentproto.ReadMessage(agentEnd, &req)
			go c.answer(agentEnd)
			for { // a pipe has no buffer: what comes is read
				if _, err := agentEnd.Read(make([]byte, 100)); err != nil {
					return
				}
			}
		}()
		_, err := (&guest.Client{Dial: func(context.Context) (net.Conn, error) { return host, nil }}).Ping(ctx)
		if api.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		agentEnd.Close()
	}
}

// TestClock compares with a clock that is off.
func TestClock(t *testing.T) {
	clock := &slowClock{off: -3 * time.Second, own: true}
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), Clock: clock.told}))
	state, err := (&guest.Client{Dial: link.Open}).Clock(t.Context())
	if err != nil || !state.Own || (state.Ahead+3*time.Second).Abs() > time.Second || state.Within <= 0 {
		t.Error(state, err)
	}
}

// TestALookIsNotAUse: it does not have the guest's clock checked.
func TestALookIsNotAUse(t *testing.T) {
	clock := &slowClock{}
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), Clock: clock.told}))
	link.KeepTime()
	_, before := clock.is()
	time.Sleep(1100 * time.Millisecond) // a check is valid for a second
	if _, err := (&guest.Client{Dial: link.Open}).Health(guest.Aside(t.Context())); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, after := clock.is(); after != before {
		t.Errorf("%d requests for the clock, then %d", before, after)
	}
}
