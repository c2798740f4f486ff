// Package repo is the client of a release repository: it reads the list of releases
// from metadata signed according to The Update Framework (TUF specification 1.0.31),
// and downloads exactly the bytes that the metadata describes.
//
// The signatures are checked by go-tuf's trusted metadata set. Network transfers and
// the stored state are this package's own: bounded, cancellable, and with a separate
// error for every refusal.
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

// Options select a repository and the root of trust.
type Options struct {
	Root     []byte           // root.json: the keys that sign everything else
	URL      string           // https, or http of this machine
	Dir      string           // where verified metadata is stored; made with mode 0700
	Platform string           // such as linux/amd64
	Now      func() time.Time // the clock for expiry; time.Now if nil
	Stall    time.Duration    // how long a server may send next to nothing; fetch.DefaultStall if 0
}

// Repository is a repository of releases. It must be used by one goroutine at a time.
type Repository struct {
	opts      Options
	base      *url.URL
	client    *fetch.Client
	rotations int      // the most new roots a Refresh follows
	targets   []Target // those of the platform, newest first
	warnings  []string
}

// Target is an archive that the repository's signed metadata describes.
type Target struct {
	release.Info
	Name   string // the archive's name, see release.Target
	Length int64
	SHA256 [32]byte
}

// Open checks the options and makes the directory. It does not use the network.
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

// Refresh updates the list of releases from the server. If it fails, the previous list
// stays. Only one Refresh at a time works on a directory; another one is refused.
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

// Warnings returns what the last Refresh ignored: damaged files in the directory.
// Without these files it could not check whether the repository shows something older
// than last time.
func (r *Repository) Warnings() []string { return r.warnings }

// Latest returns the newest release that is not a pre-release.
func (r *Repository) Latest() (Target, bool) {
	i := slices.IndexFunc(r.targets, func(t Target) bool { return !release.Prerelease(t.Version) })
	if i < 0 {
		return Target{}, false
	}
	return r.targets[i], true
}

// Versions returns the platform's releases, newest first.
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
		return Target{}, api.Errorf(api.KindNotFound, "cannot find %s: the repository has no releases for %s", version, r.opts.Platform)
	}
	return Target{}, api.Errorf(api.KindNotFound, "cannot find %s: the repository has no such release for %s", version, r.opts.Platform).
		WithHint("it has %s", strings.Join(r.Versions(), ", "))
}
