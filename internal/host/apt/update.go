package apt

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// freshFor is how long package lists are used before they are fetched again.
const freshFor = 12 * time.Hour

// Update fetches the package lists, unless those at hand are fresh and force
// is not set.
func (a *Apt) Update(ctx context.Context, force bool, report api.Report) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !force && a.age() < freshFor {
		return nil
	}
	return a.update(ctx, report)
}

func (a *Apt) stamp() string { return filepath.Join(a.dir, "updated") }

// never is the age of lists that were not fetched.
const never = time.Duration(1<<63 - 1)

// age is how long ago the lists were fetched, or never.
func (a *Apt) age() time.Duration {
	info, err := os.Stat(a.stamp())
	if err != nil || info.ModTime().After(time.Now()) {
		return never
	}
	return time.Since(info.ModTime())
}

func (a *Apt) update(ctx context.Context, report api.Report) error {
	args, err := a.onlyPackages(ctx)
	if err != nil {
		return err
	}
	p := &progress{report: report, step: "packages", message: "fetching package lists"}
	if err := a.fetch(ctx, "", p, append(args, "update")...); err != nil {
		return fetchError("cannot fetch package lists", err)
	}
	// apt-get update succeeds when a source cannot be reached, so that one bad
	// source does not spoil the rest. What counts is the distribution's.
	if _, err := a.sources(ctx); err != nil {
		return err
	}
	if err := fsx.WriteFile(a.stamp(), nil, 0o600); err != nil {
		return fsx.DiskError("note the update", err)
	}
	return nil
}

// fetchError gives a failed download the hint that fits most causes.
func fetchError(what string, err error) error {
	e := api.Errorf(api.KindOf(err), what+": %w", err)
	if e.Hint == "" && e.Kind == api.KindInternal {
		e = e.WithHint("check the network, and that `apt-get update` works on this host")
	}
	return e
}
