package lab

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"banger/test/lab/host"
)

// tally hands out the turns, to several labs, and reports and counts their results.
type tally struct {
	turns []Turn

	mu     sync.Mutex // guards everything below
	out    io.Writer
	begun  int      // how many turns were handed out
	failed []string // a line each

	passed, broken, skipped int                 // turns
	earlier                 int                 // of those that passed, in earlier runs
	pairs                   map[*host.Pair]int  // passed scenarios of each pair
	stops                   map[*host.Pair]bool // pairs that are given up
}

func newTally(out io.Writer, turns []Turn) *tally {
	return &tally{out: out, turns: turns, pairs: map[*host.Pair]int{}, stops: map[*host.Pair]bool{}}
}

// say prints a line. The caller holds t.mu.
func (t *tally) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// unlike reports pairs of programs of different releases. One that was named fails.
func (t *tally) unlike(pairs []host.Pair) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range pairs {
		switch {
		case p.Alike():
		case p.FromPath():
			t.say("note %s are of different releases, but found in PATH: used anyway", p)
		default:
			line := fmt.Sprintf("%s are of different releases (%s): not run", p, p.Name)
			t.say("FAIL %s", line)
			t.failed = append(t.failed, line)
		}
	}
}

// next hands out a turn, by its index.
func (t *tally) next() (i int, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begun == len(t.turns) {
		return 0, false
	}
	t.begun++
	return t.begun - 1, true
}

// left returns how many turns with a pair follow the turn i.
func (t *tally) left(i int) int {
	n := 0
	for _, turn := range t.turns[i:] {
		if turn.Pair == t.turns[i].Pair && !turn.skipped() {
			n++
		}
	}
	return n
}

func (t *tally) begin(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.say("     %d of %d: %s; %d left", i+1, len(t.turns), t.turns[i], len(t.turns)-i-1)
}

func (t *tally) pass(turn Turn, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed++
	t.pairs[turn.Pair]++
	t.say("ok   %s %.1f s", turn, took.Seconds())
}

// passedEarlier counts a turn that an earlier run has passed, with the same programs.
func (t *tally) passedEarlier(turn Turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed++
	t.earlier++
	t.pairs[turn.Pair]++
}

// once reports a failed try that is not the last. log contains its output.
func (t *tally) once(turn Turn, took time.Duration, err error, log string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.say("once %s %.1f s: failed, and is tried again\n%s", turn, took.Seconds(), reason(err, log))
}

func (t *tally) fail(turn Turn, took time.Duration, verdict string, err error, log string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.say("FAIL %s %.1f s: %s\n%s", turn, took.Seconds(), verdict, reason(err, log))
	t.failed = append(t.failed, fmt.Sprintf("%s: %s", turn, verdict))
	t.broken++
}

func reason(err error, log string) string {
	return indent(strings.TrimRight(err.Error(), "\n")) + "     the complete output is in " + log
}

func (t *tally) skip(turn Turn, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped++
	t.say("skip %s: %s", turn, why)
}

// stop gives up a pair: its other turns cannot pass.
func (t *tally) stop(turn Turn, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stops[turn.Pair] = true
	t.say("FAIL %s", why)
	t.failed = append(t.failed, firstLine(why.Error()))
}

func (t *tally) stopped(turn Turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stops[turn.Pair]
}

// giveUp hands out no further turn.
func (t *tally) giveUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun = len(t.turns)
}

// failures returns how many turns and pairs have failed.
func (t *tally) failures() int { return len(t.failed) }

// close reports the failures, and how many scenarios passed with each pair.
func (t *tally) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range t.failed {
		t.say("failed: %s", line)
	}
	for i, turn := range t.turns {
		if i == 0 || turn.Pair != t.turns[i-1].Pair {
			t.say("%s: %d of %d scenarios passed", what(turn.Pair), t.pairs[turn.Pair], t.left(i))
		}
	}
	text := fmt.Sprintf("%d passed, %d failed, %d skipped", t.passed, len(t.failed), t.skipped)
	if t.earlier > 0 {
		t.say("%d of those that passed did so in earlier runs, with the same programs", t.earlier)
	}
	if notRun := len(t.turns) - t.passed - t.broken - t.skipped; notRun > 0 {
		text += fmt.Sprintf(", %d not run", notRun)
	}
	t.say("%s", text)
}
