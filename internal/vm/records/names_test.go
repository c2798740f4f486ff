package records

import (
	"strings"
	"testing"

	"banger/api"
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"dev": true, "web-1": true, "a": true, "0": true, "0123456789": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "a-": false, "A": false, "a_b": false, "a.b": false, "a b": false, "ä": false,
		"a\nb": false, "../x": false, "a/b": false, strings.Repeat("a", 64): false,
		"0123456789ab": false, // looks like an id
	} {
		err := CheckName(name)
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil && api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: kind %s", name, api.KindOf(err))
		}
	}
}

func TestEveryGeneratedNameIsValid(t *testing.T) {
	seen := map[string]bool{}
	for _, words := range [][]string{adjectives[:], nouns[:]} {
		for _, w := range words {
			if err := CheckName(w); err != nil || strings.Contains(w, "-") || seen[w] {
				t.Errorf("bad or repeated word %q: %v", w, err)
			}
			seen[w] = true
		}
	}
	if err := CheckName(randomName()); err != nil {
		t.Error(err)
	}
}

func TestMoves(t *testing.T) {
	for _, m := range []struct {
		from, to api.State
		ok       bool
	}{
		{api.StateCreating, api.StateRunning, true},
		{api.StateRunning, api.StateRunning, true},
		{api.StateRunning, api.StateCreating, false},
		{api.StateStopped, api.StatePaused, false},
		{api.StateRunning, api.StateDeleted, false},
		{api.StateDeleted, api.StateStopped, false},
	} {
		if got := mayMove(m.from, m.to); got != m.ok {
			t.Errorf("%s to %s: %t", m.from, m.to, got)
		}
	}
	for from, tos := range moves {
		if from == api.StateDeleted && len(tos) > 0 {
			t.Error("deleted is the end")
		}
	}
}
