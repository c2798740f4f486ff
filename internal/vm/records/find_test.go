package records

import (
	"strings"
	"testing"

	"banger/api"
)

// TestFindByTheBeginningOfAnID: an exact name or id wins, and of several that begin so
// none is taken.
func TestFindByTheBeginningOfAnID(t *testing.T) {
	s := New(Options{})
	for id, name := range map[string]string{"abcd00000001": "dev", "abcd00000002": "web", "feed00000003": "abcd", "beef00000004": "new"} {
		s.vms[id] = &Entry{table: s, id: id, vm: api.VM{ID: id, Name: name}, fresh: name == "new"}
	}
	for ref, want := range map[string]string{"dev": "dev", "abcd": "abcd", "abcd00000001": "dev", "feed": "abcd", "abcd00000002": "web"} {
		if e, err := s.find(ref); err != nil || e.vm.Name != want {
			t.Errorf("%s: %v, %v", ref, e, err)
		}
	}
	for _, ref := range []string{"", "fee", "de", "beef", "abcd000000012"} {
		if _, err := s.find(ref); api.KindOf(err) != api.KindNotFound {
			t.Errorf("%q: %v", ref, err)
		}
	}
	_, err := s.find("abcd0000")
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "2 VMs: dev (abcd00000001), web (abcd00000002)") {
		t.Errorf("got %v", err)
	}
}
