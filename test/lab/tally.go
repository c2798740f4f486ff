package lab

import (
	"fmt"
	"io"
	"strings"
	"time"

	"banger/test/lab/host"
)

// tally says what is played and how it went, and counts.
type tally struct {
	out    io.Writer
	turns  []Turn
	failed []string // a line each

	passed, skipped, notRun int
	pairs                   map[*host.Pair]int  // how many have passed with each
	stops                   map[*host.Pair]bool // those that are given up
}

func newTally(out io.Writer, turns []Turn) *tally {
	return &tally{out: out, turns: turns, pairs: map[*host.Pair]int{}, stops: map[*host.Pair]bool{}}
}

func (t *tally) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// unlike calls each pair of unlike releases what it is. One that was named fails.
func (t *tally) unlike(pairs []host.Pair) {
	for _, p := range pairs {
		switch {
		case p.Alike():
		case p.FromPath():
			t.say("note %s are of unlike releases, which PATH has: played with all the same", p)
		default:
			line := fmt.Sprintf("%s are of unlike releases (%s): not run", p, p.Name)
			t.say("FAIL %s", line)
			t.failed = append(t.failed, line)
		}
	}
}

// left is how many turns with its pair there are to play from the one at i on.
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

// once says that a try has failed which is not the last. log has everything it did.
func (t *tally) once(turn Turn, took time.Duration, err error, log string) {
	t.say("once %s %.1f s: failed, and is tried again\n%s", turn, took.Seconds(), reason(err, log))
}

func (t *tally) fail(turn Turn, took time.Duration, verdict string, err error, log string) {
	t.say("FAIL %s %.1f s: %s\n%s", turn, took.Seconds(), verdict, reason(err, log))
	t.failed = append(t.failed, fmt.Sprintf("%s: %s", turn, verdict))
}

func reason(err error, log string) string {
	return indent(strings.TrimRight(err.Error(), "\n")) + "     everything it did is in " + log
}

func (t *tally) skip(turn Turn, why string) {
	t.skipped++
	t.say("skip %s: %s", turn, why)
}

// stop gives a pair up: nothing of what is left for it can pass.
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

// failures is how many turns and pairs have failed.
func (t *tally) failures() int { return len(t.failed) }

// close says the names of what failed, and with which pair how much passed.
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
