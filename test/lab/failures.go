package lab

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// scenarioError is what a scenario found wrong, and what there is to say beside it.
type scenarioError struct {
	what error
	more string
}

func (e *scenarioError) Error() string { return e.what.Error() + "\n" + e.more }
func (e *scenarioError) Unwrap() error { return e.what }

// failures are the tries of one scenario that have failed (docs/adr/0013).
type failures struct {
	tries, faults int
	seen          map[string]int // how often each failure was seen
	most          int            // the largest of these
}

// add counts a try that has failed. fault says that the emulated processor had spoiled a
// guest or the lab in it, by which it may have failed.
func (f *failures) add(err error, fault bool) {
	f.tries++
	if fault {
		f.faults++
	}
	if errors.Is(err, errSpoiled) {
		return // it was ended for that: what it was at, at that moment, says nothing
	}
	if f.seen == nil {
		f.seen = map[string]int{}
	}
	f.seen[sameText(err)]++
	f.most = max(f.most, f.seen[sameText(err)])
}

// enough says whether there is no use in another try. What fails twice has failed. What
// the emulated processor may be to blame for does not count, three times at most, but
// it fails nothing twice in the same way.
func (f *failures) enough() bool { return f.most > 1 || f.tries >= 2+min(f.faults, 3) }

// verdict says how it failed.
func (f *failures) verdict() string {
	text := f.way()
	if f.faults > 0 {
		text += fmt.Sprintf("; the emulated processor was at fault beside it in %d of %d tries", f.faults, f.tries)
	}
	return text
}

// way is the verdict without whose fault it may be.
func (f *failures) way() string {
	switch {
	case f.most == f.tries:
		return "failed the same way each time"
	case f.most > 1:
		return fmt.Sprintf("failed the same way %d of %d times", f.most, f.tries)
	}
	return fmt.Sprintf("failed %d times, each in another way", f.tries)
}

// changing are the parts of a message that differ from one try to the next: numbers,
// times, ids, digests, addresses.
var changing = regexp.MustCompile(`\b[0-9a-f]*[0-9][0-9a-f]*\b|[0-9]+`)

// sameText is what two failures have in common that are the same.
func sameText(err error) string {
	var e *scenarioError
	if errors.As(err, &e) {
		err = e.what
	}
	return strings.Join(strings.Fields(changing.ReplaceAllString(err.Error(), "N")), " ")
}
