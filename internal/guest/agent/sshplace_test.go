package agent

import (
	"testing"

	"banger/internal/guest/forward"
)

// TestSSHSharesTheGuestsPlaces: what ssh forwards and what is published or forwarded otherwise
// is one crowd.
func TestSSHSharesTheGuestsPlaces(t *testing.T) {
	s := &server{crowd: forward.NewCrowd(2)}
	other := s.crowd.Enter(func() {})
	place := sshGuest{s}.Place(func() {})
	if other == nil || place == nil || (sshGuest{s}).Place(func() {}) != nil || s.crowd.Enter(func() {}) != nil {
		t.Error("there are more than two places, or less")
	}
	place.Leave()
	if s.crowd.Enter(func() {}) == nil {
		t.Error("the place was not given back")
	}
}
