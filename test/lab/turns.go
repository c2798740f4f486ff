package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"banger/test/lab/host"
)

// Turn is a scenario that runs with a Firecracker pair.
type Turn struct {
	Scenario Scenario
	Pair     *host.Pair // nil: VMs run on QEMU
	Further  bool       // another pair has run all scenarios before
}

// skipped reports whether the turn cannot run: it is about Firecracker and has no pair.
func (t Turn) skipped() bool { return t.Scenario.Firecracker && t.Pair == nil }

// String returns the name of the turn in a run's output.
func (t Turn) String() string {
	if t.Pair == nil {
		return t.Scenario.Name
	}
	return t.Scenario.Name + " with " + t.Pair.String()
}

// again reports whether a scenario runs with each pair, and not only with the first.
func (s Scenario) again() bool { return s.Firecracker || s.VMM }

// turns returns what to run: everything with the first pair, and with each further pair
// what depends on the VMM. A pair of programs of different releases is not used, unless
// it was found in PATH, as nobody chose it.
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

// List writes the names of the turns, with their pairs.
func (s Suite) List(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	again := 0
	for _, scenario := range s.chosen() {
		about := ""
		switch {
		case scenario.Firecracker:
			about = "only Firecracker; again with each further pair"
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
	_, err := fmt.Fprintf(w, "%d scenarios; with each further pair of PAIRS=DIR %d of them are run again\n", len(s.chosen()), again)
	return err
}
