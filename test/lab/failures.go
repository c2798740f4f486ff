package lab

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// scenarioError is the failure of a scenario, with additional information.
type scenarioError struct {
	what error
	more string
}

func (e *scenarioError) Error() string { return e.what.Error() + "\n" + e.more }
func (e *scenarioError) Unwrap() error { return e.what }

// failures are the failed tries of one scenario (docs/adr/0013).
type failures struct {
	tries, faults int
	seen          map[string]int // how often each failure was seen
	most          int            // the largest count
}

// add counts a failed try. fault means that the emulated processor had broken a guest
// or the lab during the try, which may be the reason.
func (f *failures) add(err error, fault bool) {
	f.tries++
	if fault {
		f.faults++
	}
	if errors.Is(err, errSpoiled) {
		return // it was ended for that: what it did at that moment is irrelevant
	}
	if f.seen == nil {
		f.seen = map[string]int{}
	}
	f.seen[sameText(err)]++
	f.most = max(f.most, f.seen[sameText(err)])
}

// enough reports whether another try makes no sense. A scenario that fails twice in the
// same way has failed. A failure that the emulated processor may have caused does not
// count, at most three times, unless the same failure occurs twice.
func (f *failures) enough() bool { return f.most > 1 || f.tries >= 2+min(f.faults, 3) }

// excused reports whether the emulated processor was at fault in each try.
func (f *failures) excused() bool { return f.faults == f.tries }

// verdict describes how the scenario failed.
func (f *failures) verdict() string {
	text := f.way()
	if f.faults > 0 {
		text += fmt.Sprintf("; the emulated processor was at fault beside it in %d of %d tries", f.faults, f.tries)
	}
	return text
}

// way is the verdict without the possible fault of the emulated processor.
func (f *failures) way() string {
	switch {
	case f.most == f.tries:
		return "failed the same way each time"
	case f.most > 1:
		return fmt.Sprintf("failed the same way %d of %d times", f.most, f.tries)
	}
	return fmt.Sprintf("failed %d times, each in a different way", f.tries)
}

// changing matches the parts of a message that differ between tries: numbers, times,
// ids, digests, addresses.
var changing = regexp.MustCompile(`\b[0-9a-f]*[0-9][0-9a-f]*\b|[0-9]+`)

// sameText returns the text that equal failures have in common.
func sameText(err error) string {
	var e *scenarioError
	if errors.As(err, &e) {
		err = e.what
	}
	return strings.Join(strings.Fields(changing.ReplaceAllString(err.Error(), "N")), " ")
}
