package lab

import (
	"fmt"
	"io"
	"strings"
	"time"

	"banger/test/lab/host"
)

// tally reports and counts the results of turns.
type tally struct {
	out    io.Writer
	turns  []Turn
	failed []string // a line each

	passed, skipped, notRun int
	pairs                   map[*host.Pair]int  // passed scenarios of each pair
	stops                   map[*host.Pair]bool // pairs that are given up
}

func newTally(out io.Writer, turns []Turn) *tally {
	return &tally{out: out, turns: turns, pairs: map[*host.Pair]int{}, stops: map[*host.Pair]bool{}}
}

func (t *tally) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// unlike reports pairs of programs of different releases. One that was named fails.
func (t *tally) unlike(pairs []host.Pair) {
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
	t.say("     %d of %d: %s; %d left", i+1, len(t.turns), t.turns[i], len(t.turns)-i-1)
}

func (t *tally) pass(turn Turn, took time.Duration) {
	t.passed++
	t.pairs[turn.Pair]++
	t.say("ok   %s %.1f s", turn, took.Seconds())
}

// once reports a failed try that is not the last. log contains its output.
func (t *tally) once(turn Turn, took time.Duration, err error, log string) {
	t.say("once %s %.1f s: failed, and is tried again\n%s", turn, took.Seconds(), reason(err, log))
}

func (t *tally) fail(turn Turn, took time.Duration, verdict string, err error, log string) {
	t.say("FAIL %s %.1f s: %s\n%s", turn, took.Seconds(), verdict, reason(err, log))
	t.failed = append(t.failed, fmt.Sprintf("%s: %s", turn, verdict))
}

func reason(err error, log string) string {
	return indent(strings.TrimRight(err.Error(), "\n")) + "     the complete output is in " + log
}

func (t *tally) skip(turn Turn, why string) {
	t.skipped++
	t.say("skip %s: %s", turn, why)
}

// stop gives up a pair: its other turns cannot pass.
func (t *tally) stop(turn Turn, why error) {
	t.stops[turn.Pair] = true
	t.say("FAIL %s", why)
	t.failed = append(t.failed, firstLine(why.Error()))
}

func (t *tally) stopped(turn Turn) bool { return t.stops[turn.Pair] }

// giveUp counts the turns from i on as not run.
func (t *tally) giveUp(i int) {
	for _, turn := range t.turns[i:] {
		if !turn.skipped() {
			t.notRun++
		}
	}
}

// failures returns how many turns and pairs have failed.
func (t *tally) failures() int { return len(t.failed) }

// close reports the failures, and how many scenarios passed with each pair.
func (t *tally) close() {
	for _, line := range t.failed {
		t.say("failed: %s", line)
	}
	for i, turn := range t.turns {
		if i == 0 || turn.Pair != t.turns[i-1].Pair {
			t.say("%s: %d of %d scenarios passed", what(turn.Pair), t.pairs[turn.Pair], t.left(i))
		}
	}
	text := fmt.Sprintf("%d passed, %d failed, %d skipped", t.passed, len(t.failed), t.skipped)
	if t.notRun > 0 {
		text += fmt.Sprintf(", %d not run", t.notRun)
	}
	t.say("%s", text)
}
