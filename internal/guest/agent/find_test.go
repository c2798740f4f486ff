package agent

import (
	"strings"
	"testing"

	"banger/api"
)

// TestFindTaskByTheBeginningOfItsID: of several that begin so none is taken.
func TestFindTaskByTheBeginningOfItsID(t *testing.T) {
	s := &server{tasks: newTasks(t.Context(), nil, nil), sessions: &sessions{}}
	for _, id := range []string{"abcd0001", "abcd0002", "feed0003"} {
		s.tasks.byID[id] = &task{id: id}
	}
	for ref, want := range map[string]string{"abcd0001": "abcd0001", "feed": "feed0003"} {
		if got, err := s.findTask(ref); err != nil || got.id != want {
			t.Errorf("%s: %v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "fee", "aaaa"} {
		if _, err := s.findTask(ref); api.KindOf(err) != api.KindNotFound {
			t.Errorf("%q: %v", ref, err)
		}
	}
	_, err := s.findTask("abcd")
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "abcd0001") || !strings.Contains(err.Error(), "abcd0002") {
		t.Errorf("got %v", err)
	}
}
