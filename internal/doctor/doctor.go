// Package doctor says what this host can do for banger, what it lacks, why
// that matters and what to type. It changes nothing, sends nothing, and works
// with no daemon running.
package doctor

import (
	"cmp"
	"context"

	"banger/api"
)

// The statuses of a finding.
const (
	OK   = "ok"
	Warn = "warn" // banger works, but slower or with less
	Fail = "fail" // something does not work
)

// Check is one question to the host.
type Check struct {
	Name string
	Why  string // why the answer matters
	Fix  string // what to type when it is bad
	Run  func(ctx context.Context, h Host) Finding
}

// Finding is the answer.
type Finding struct {
	Status string
	Found  string
	Fix    string // instead of the check's own
}

// Checks is every question, in the order they are shown.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{programs(), namespaces(), resources(), state()} {
		all = append(all, group...)
	}
	return all
}

// Run asks every question.
func Run(ctx context.Context, h Host) []api.Check {
	var found []api.Check
	for _, c := range Checks() {
		f := c.Run(ctx, h)
		a := api.Check{Name: c.Name, Status: f.Status, Found: f.Found, Why: c.Why}
		if f.Status != OK {
			a.Fix = cmp.Or(f.Fix, c.Fix)
		}
		found = append(found, a)
	}
	return found
}

func ok(found string) Finding   { return Finding{Status: OK, Found: found} }
func warn(found string) Finding { return Finding{Status: Warn, Found: found} }
func fail(found string) Finding { return Finding{Status: Fail, Found: found} }
