package repository

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/internal/update/release"
)

// Status writes the repository's releases, its keys, and their expiry.
func (r *Repository) Status(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROLE\tVERSION\tEXPIRES\tNEEDS\tKEYS")
	for _, role := range []struct {
		name    string
		version int64
		expires time.Time
	}{
		{metadata.ROOT, r.root.Signed.Version, r.root.Signed.Expires},
		{metadata.TARGETS, r.targets.Signed.Version, r.targets.Signed.Expires},
		{metadata.SNAPSHOT, r.snapshot.Signed.Version, r.snapshot.Signed.Expires},
		{metadata.TIMESTAMP, r.timestamp.Signed.Version, r.timestamp.Signed.Expires},
	} {
		has := r.root.Signed.Roles[role.name]
		var ids []string
		for _, id := range has.KeyIDs {
			ids = append(ids, shortID(id))
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d of %d\t%s\n", role.name, role.version, r.until(role.version, role.expires), has.Threshold, len(has.KeyIDs), strings.Join(ids, " "))
	}
	fmt.Fprintln(w, "\nRELEASE\tPLATFORM\tBYTES\tCOMMIT\tMAY REPLACE")
	all, err := r.offered()
	if err != nil {
		return err
	}
	for _, o := range all {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", o.Version, o.Platform, o.length, o.Commit, strings.Join(append([]string{"older"}, o.DowngradeFrom...), " "))
	}
	return w.Flush()
}

func (r *Repository) until(version int64, at time.Time) string {
	switch {
	case version == 0:
		return "unsigned"
	case r.expired(at):
		return at.Format(time.DateOnly) + ": EXPIRED"
	}
	return at.Format(time.DateOnly)
}

type offer struct {
	release.Info
	length int64
}

// offered returns the archives, newest first.
func (r *Repository) offered() ([]offer, error) {
	var all []offer
	for name, t := range r.targets.Signed.Targets {
		i, err := info(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, offer{i, t.Length})
	}
	slices.SortFunc(all, func(a, b offer) int {
		return cmp.Or(release.Compare(b.Version, a.Version), cmp.Compare(a.Platform, b.Platform))
	})
	return all, nil
}
