package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"banger/api"
)

// tally counts.
type tally struct {
	mu                  sync.Mutex
	began               time.Time
	done, refused, lost map[string]int
	happened            map[string]int
	checks              int
}

func newTally() *tally {
	return &tally{began: time.Now(), done: map[string]int{}, refused: map[string]int{}, lost: map[string]int{}, happened: map[string]int{}}
}

func (t *tally) operation(s *step, o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case o.lost && s.via == byKilled:
		t.happened["kill -9 CLI"]++
	case s.via == byInterrupted && (o.lost || o.err != nil && o.err.Kind == api.KindCanceled):
		t.happened["Ctrl-C of CLI"]++
	}
	switch {
	case o.lost:
		t.lost[s.op.name]++
	case o.err != nil:
		t.refused[s.op.name]++
	case s.op.name == "kill -9 VMM":
		t.happened[s.op.name] += len(o.names)
	default:
		t.done[s.op.name]++
	}
}

func (t *tally) chaos(s *step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.happened[s.chaos.name]++
}

// count counts something that has happened.
func (t *tally) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.happened[what]++
}

// String says how much was done.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d operations were done, %d refused, %d lost their client in %s, with %d looks at everything\n  done: %s\n  refused: %s\n  happened: %s",
		total(t.done), total(t.refused), total(t.lost), time.Since(t.began).Round(time.Second), t.checks, list(t.done), list(t.refused), list(t.happened))
}

func total(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func list(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
