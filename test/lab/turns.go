package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"banger/test/lab/host"
)

// Turn is a scenario that is played with a Firecracker pair.
type Turn struct {
	Scenario Scenario
	Pair     *host.Pair // nil: VMs run on QEMU
	Further  bool       // another pair has played all scenarios before
}

// skipped says whether there is nothing to play: it is about Firecracker.
func (t Turn) skipped() bool { return t.Scenario.Firecracker && t.Pair == nil }

// String is what a run calls the turn.
func (t Turn) String() string {
	if t.Pair == nil {
		return t.Scenario.Name
	}
	return t.Scenario.Name + " with " + t.Pair.String()
}

// again says whether a scenario is played with each pair, and not with the first alone.
func (s Scenario) again() bool { return s.Firecracker || s.VMM }

// turns are what there is to play: everything with the first pair, and with each further
// one what depends on the VMM. A pair of unlike releases is not played with, unless it is
// that of PATH, which nobody chose.
func (s Suite) turns() []Turn {
	var turns []Turn
	if s.Options.NoFirecracker || len(s.Options.Pairs) == 0 {
		for _, scenario := range s.chosen() {
			turns = append(turns, Turn{Scenario: scenario})
		}
		return turns
	}
	further := false
	for i := range s.Options.Pairs {
		pair := &s.Options.Pairs[i]
		if !pair.Alike() && !pair.FromPath() {
			continue
		}
		for _, scenario := range s.chosen() {
			if !further || scenario.again() {
				turns = append(turns, Turn{Scenario: scenario, Pair: pair, Further: further})
			}
		}
		further = true
	}
	return turns
}

// List writes the names of what would be played, and with which pairs.
func (s Suite) List(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	again := 0
	for _, scenario := range s.chosen() {
		about := ""
		switch {
		case scenario.Firecracker:
			about = "Firecracker alone; again with each further pair"
		case scenario.VMM:
			about = "again with each further pair"
		case scenario.Updates:
			about = "builds versions to update to"
		}
		if scenario.again() {
			again++
		}
		fmt.Fprintf(t, "%s\t%s\n", scenario.Name, about)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	_, err := fmt.Fprintf(w, "%d scenarios; with each further pair of PAIRS=DIR %d of them are played again\n", len(s.chosen()), again)
	return err
}
