// Package doctor checks what this host offers to banger and what it lacks, why that
// matters, and what to type. It changes nothing, sends nothing, and works without a
// running daemon.
package doctor

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"banger/api"
)

// The statuses of a finding.
const (
	OK   = "ok"
	Warn = "warn" // banger works, but slower or with less
	Fail = "fail" // something does not work
)

// Check is a check of the host.
type Check struct {
	Name string
	Why  string // why the result matters
	Fix  string // what to type if the result is bad
	Run  func(ctx context.Context, h Host) Finding
}

// Finding is the result of a check.
type Finding struct {
	Status string
	Found  string
	Fix    string // replaces the check's own fix
}

// source runs one check, or several of one kind.
type source func(ctx context.Context, h Host) []api.Check

func one(c Check) source {
	return func(ctx context.Context, h Host) []api.Check { return []api.Check{c.ask(ctx, h)} }
}

// Checks returns the checks of user mode, in display order.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{programs(), namespaces(), resources(), state()} {
		all = append(all, group...)
	}
	return all
}

// Run runs all checks in parallel: some wait for a program or for the root helper.
func Run(ctx context.Context, h Host) []api.Check {
	var sources []source
	if h.System != nil {
		sources = systemMode()
	} else {
		for _, c := range Checks() {
			sources = append(sources, one(c))
		}
		sources = append(sources, commandLinks)
	}
	answers := make([][]api.Check, len(sources))
	var wg sync.WaitGroup
	for i, ask := range sources {
		wg.Go(func() { answers[i] = ask(ctx, h) })
	}
	wg.Wait()
	return slices.Concat(answers...)
}

func (c Check) ask(ctx context.Context, h Host) api.Check { return report(c, c.Run(ctx, h)) }

// report makes one line of a check and its finding.
func report(c Check, f Finding) api.Check {
	a := api.Check{Name: c.Name, Status: f.Status, Found: f.Found, Why: c.Why}
	if f.Status != OK {
		a.Fix = cmp.Or(f.Fix, c.Fix)
	}
	return a
}

func ok(found string) Finding   { return Finding{Status: OK, Found: found} }
func warn(found string) Finding { return Finding{Status: Warn, Found: found} }
func fail(found string) Finding { return Finding{Status: Fail, Found: found} }
