package apt

import (
	"context"
	"strconv"
	"strings"
	"time"

	"banger/api"
)

// Package is the candidate version of a package: the one that Download gets.
type Package struct {
	Name    string
	Version string
	Bytes   int64 // of the file
	Depends []string
}

// Lists returns when the package lists were fetched, or an error if they never were.
func (a *Apt) Lists() (time.Time, error) {
	if err := a.Available(); err != nil {
		return time.Time{}, err
	}
	age := a.age()
	if age == never {
		return time.Time{}, api.Errorf(api.KindConflict, "no package lists have been fetched yet").
			WithHint("banger kernel list --available --refresh fetches them, and so does banger kernel pull")
	}
	return time.Now().Add(-age), nil
}

// Names returns the names of all packages in the lists that begin with a prefix. It asks no server.
func (a *Apt) Names(ctx context.Context, prefix string) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out, err := a.output(ctx, "apt-cache", "pkgnames", prefix)
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot list packages: %w", err)
	}
	return strings.Fields(out), nil
}

// Packages returns what the lists say of packages. It asks no server.
func (a *Apt) Packages(ctx context.Context, names []string) ([]Package, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out, err := a.output(ctx, "apt-cache", append([]string{"show", "--no-all-versions"}, names...)...)
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot find packages %s: %w", strings.Join(names, ", "), err)
	}
	return parsePackages(out), nil
}

// parsePackages reads control stanzas (deb-control(5)).
func parsePackages(out string) []Package {
	var all []Package
	for stanza := range strings.SplitSeq(out, "\n\n") {
		var p Package
		for field, value := range fields(stanza) {
			switch field {
			case "Package":
				p.Name = value
			case "Version":
				p.Version = value
			case "Size":
				p.Bytes, _ = strconv.ParseInt(value, 10, 64) // 0 if apt does not know it
			}
		}
		p.Depends = parseDepends(stanza)
		if p.Name != "" && p.Version != "" {
			all = append(all, p)
		}
	}
	return all
}
