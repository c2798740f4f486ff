package agentproto

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"
)

// TestOlderAgentDoesNotConfirm: it answers a greeting with an incarnation as any other.
func TestOlderAgentDoesNotConfirm(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	go NewListener(there, "boot", "1").Accept()
	h := NewHello("test", time.Now())
	h.Incarnation = &Incarnation{Generation: 1, Mode: ModeChild}
	_, ack, err := Greet(t.Context(), here, h)
	if err != nil || ack.Incarnation != nil || ack.Done.Confirmed(StepRandom) {
		t.Errorf("%+v, %v", ack, err)
	}
}

// FuzzDone: an answer fits into a greeting, whatever the steps say.
func FuzzDone(f *testing.F) {
	f.Add("random", "done", strings.Repeat("\x00", 200), 20)
	f.Add("<&>", "\xff", "\"", 3)
	f.Fuzz(func(t *testing.T, name, state, detail string, n int) {
		h := NewHello("test", time.Unix(1, 0))
		d := &Done{}
		for range min(n, 50) {
			d.Steps = append(d.Steps, Step{name, StepState(state), detail})
		}
		ack := Ack{Protocol: Protocol, Nonce: h.Nonce, BootID: strings.Repeat("b", 60), Version: strings.Repeat("v", 60), Done: d.fit(),
			Incarnation: &Incarnation{Generation: 1<<64 - 1, Lineage: strings.Repeat("l", maxLineage), Mode: ModeRewound}}
		framed, err := greetingFrame(frameAck, h.Nonce, ack)
		if err != nil {
			t.Fatal(err)
		}
		var got Ack
		if err := parseGreeting(frame{kind: frameAck, session: sessionOf(h.Nonce), payload: framed[headerSize:]}, &got, &got.Nonce); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzGreeting: whatever the other side says, it is refused or has a Done that can be asked.
func FuzzGreeting(f *testing.F) {
	f.Add([]byte(`{"incarnation":{"generation":1,"mode":"child"},"done":{"steps":[{"name":"random","state":"done"}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Hello
		if json.Unmarshal(b, &h) == nil && h.Incarnation.Valid() && h.Identity.Valid() && h.Identity != nil && strings.ContainsAny(h.Identity.Hostname, " \n/") {
			t.Errorf("%q is a host name", h.Identity.Hostname)
		}
		var ack Ack
		if json.Unmarshal(b, &ack) == nil {
			_ = ack.Done.Confirmed(StepRandom)
		}
	})
}
