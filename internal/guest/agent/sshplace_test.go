package agent

import (
	"testing"

	"banger/internal/guest/forward"
)

// TestSSHSharesTheGuestsPlaces: what ssh forwards and what is published or forwarded otherwise
// is one crowd.
func TestSSHSharesTheGuestsPlaces(t *testing.T) {
	s := &server{sessions: &sessions{crowd: forward.NewCrowd(2)}}
	other := s.sessions.crowd.Enter(func() {})
	place := sshGuest{s}.Place(func() {})
	if other == nil || place == nil || (sshGuest{s}).Place(func() {}) != nil || s.sessions.crowd.Enter(func() {}) != nil {
		t.Error("there are more than two places, or less")
	}
	place.Leave()
	if s.sessions.crowd.Enter(func() {}) == nil {
		t.Error("the place was not given back")
	}
}
