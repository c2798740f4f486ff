// Package repo is the client of a release repository: it learns which releases
// there are from metadata signed as The Update Framework says (TUF
// specification 1.0.31), and downloads what that metadata names, byte for byte.
//
// The signatures are checked by go-tuf's trusted metadata set. What goes over the
// network and what is kept on the disk is ours: bounded, cancellable, and with an
// error of its own for every refusal.
package repo

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/fetch"
	"banger/internal/update/release"
)

// Options say which repository is asked, and what it is trusted by.
type Options struct {
	Root     []byte           // root.json: the keys that everything else follows from
	URL      string           // https, or http of this machine
	Dir      string           // what was seen so far is kept here; made with mode 0700
	Platform string           // such as linux/amd64
	Now      func() time.Time // what expiry is measured with; time.Now where nil
	Stall    time.Duration    // how long a server may bring next to nothing; fetch.DefaultStall where 0
}

// Repository is a repository of releases. It is used by one goroutine at a time.
type Repository struct {
	opts      Options
	base      *url.URL
	client    *fetch.Client
	rotations int      // how many new roots a Refresh follows
	targets   []Target // the platform's, the newest first
	warnings  []string
}

// Target is an archive that the repository's metadata vouches for.
type Target struct {
	release.Info
	Name   string // the archive's, as release.Target makes it
	Length int64
	SHA256 [32]byte
}

// Open checks the options and makes the directory. It asks nobody.
func Open(o Options) (*Repository, error) {
	base, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Repository{opts: o, base: base, client: fetch.New(fetch.Options{Stall: o.Stall, Redirect: checkRedirect}), rotations: maxRotations}
	if _, err := r.trustRoot(); err != nil {
		return nil, err
	}
	return r, makeDir(o.Dir)
}

// Refresh learns what the repository holds now. When it fails, what was known
// before stays known. Only one Refresh at a time works on a directory; another
// one is refused.
func (r *Repository) Refresh(ctx context.Context) error {
	unlock, err := lockDir(r.opts.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	r.warnings = nil
	trusted, err := r.trustRoot()
	if err != nil {
		return err
	}
	f := &refresh{Repository: r, trusted: trusted}
	if err := f.run(ctx); err != nil {
		return err
	}
	targets, err := f.releases()
	if err != nil {
		return err
	}
	r.targets = targets
	return nil
}

// Warnings say what the last Refresh ignored: files of the directory that were
// damaged. It had to begin anew there, and could not see whether the
// repository shows something older than last time.
func (r *Repository) Warnings() []string { return r.warnings }

// Latest returns the newest release that is no pre-release.
func (r *Repository) Latest() (Target, bool) {
	i := slices.IndexFunc(r.targets, func(t Target) bool { return !release.Prerelease(t.Version) })
	if i < 0 {
		return Target{}, false
	}
	return r.targets[i], true
}

// Versions returns the platform's releases, the newest first.
func (r *Repository) Versions() []string {
	var all []string
	for _, t := range r.targets {
		all = append(all, t.Version)
	}
	return all
}

// Find returns the release of a version.
func (r *Repository) Find(version string) (Target, error) {
	for _, t := range r.targets {
		if t.Version == version {
			return t, nil
		}
	}
	if len(r.targets) == 0 {
		return Target{}, api.Errorf(api.KindNotFound, "cannot find %s: the repository has no release for %s", version, r.opts.Platform)
	}
	return Target{}, api.Errorf(api.KindNotFound, "cannot find %s: the repository has no such release for %s", version, r.opts.Platform).
		WithHint("it has %s", strings.Join(r.Versions(), ", "))
}
