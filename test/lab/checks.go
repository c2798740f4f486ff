package lab

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// patience is how long a scenario waits for an event, and how long one command may
// take: under emulation, on a busy machine, everything is slow.
const patience = 8 * time.Minute

// checks are a scenario's checks, and what it reports. One that fails ends the scenario.
type checks struct {
	ctx    context.Context // ends with the scenario
	out    io.Writer       // what the run prints
	script io.Writer       // all commands, with their output
	passed map[string]bool // the points that this scenario has passed (Points)
}

// failure ends a scenario.
type failure struct{ text string }

// Points runs a part of a scenario for each of several independent points: if a
// scenario is tried again, it continues at the point at which it failed.
func (c *checks) Points(points []string, part func(point string)) {
	for _, point := range points {
		if !c.passed[point] {
			part(point)
			c.passed[point] = true
		}
	}
}

// Failf ends the scenario with a failure.
func (c *checks) Failf(format string, args ...any) {
	panic(failure{fmt.Sprintf(format, args...)})
}

// Note reports something about the run that is not a failure.
func (c *checks) Note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(c.out, "note %s\n", text)
	fmt.Fprintf(c.script, "note: %s\n", text)
}

// interval is how often Wait checks.
const interval = 200 * time.Millisecond

// Wait waits until done returns true. what completes "still not: ".
func (c *checks) Wait(what string, done func() bool) {
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			c.Failf("after %s still not: %s", patience, what)
		}
		select {
		case <-c.ctx.Done():
			c.Failf("given up: %v", context.Cause(c.ctx))
		case <-time.After(interval):
		}
	}
}

// Equal ends the scenario if two values differ.
func (c *checks) Equal(what string, got, want any) {
	if got != want {
		c.Failf("%s is %v, not %v", what, got, want)
	}
}

// Contains ends the scenario if text lacks part.
func (c *checks) Contains(what, text, part string) {
	if !strings.Contains(text, part) {
		c.Failf("%s lacks %q:\n%s", what, part, text)
	}
}
