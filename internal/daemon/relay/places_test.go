package relay

import (
	"strings"
	"testing"

	"banger/api"
	"banger/internal/guest/budget"
)

// TestPlaces: connections leave places for commands, and what ends gives its own back.
func TestPlaces(t *testing.T) {
	p := NewPlaces(budget.Daemon{Streams: 3, Connections: 2})
	enter := func(connection bool, refusal string) {
		t.Helper()
		err := p.Enter(connection)
		if refusal == "" && err != nil || refusal != "" && (api.KindOf(err) != api.KindTimeout || !strings.Contains(err.Error(), refusal)) {
			t.Errorf("%v, want %q", err, refusal)
		}
	}
	enter(true, "")
	enter(true, "")
	enter(true, "2 connections")
	enter(false, "")
	enter(false, "3 streams")
	enter(true, "3 streams")
	p.Leave(true)
	enter(true, "")
	p.Leave(false)
	enter(true, "2 connections")
	enter(false, "")
}
