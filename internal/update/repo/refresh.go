package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"banger/internal/fetch"
)

// The limits of metadata files in bytes. TUF leaves them to the client (specification
// 1.0.31, 5.3.3 to 5.6.1); these are go-tuf's defaults (metadata/config), rounded up to
// powers of two. A release adds about 500 bytes to targets.json.
const (
	maxRoot      = 512 << 10
	maxTimestamp = 16 << 10
	maxSnapshot  = 2 << 20
	maxTargets   = 5 << 20
)

// maxRotations bounds how many new roots one refresh follows (5.3.3), as in go-tuf.
const maxRotations = 256

// refresh is one pass through the client's workflow (specification, 5.3 to 5.6). Each
// file is stored as soon as it is verified, as 5.3.8, 5.4.5, 5.5.7 and 5.6.6 demand: so
// a signed file cannot be withdrawn once it was seen, even if the refresh fails later.
type refresh struct {
	*Repository
	trusted *trustedmetadata.TrustedMetadata
}

func (f *refresh) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{f.roots, f.timestamp, f.snapshot, f.targetsFile} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// trustRoot starts with the root that the caller trusts.
func (r *Repository) trustRoot() (*trustedmetadata.TrustedMetadata, error) {
	_, err := readSkeleton(metadata.ROOT, r.opts.Root)
	if err == nil {
		var trusted *trustedmetadata.TrustedMetadata
		if trusted, err = trustedmetadata.New(r.opts.Root); err == nil {
			trusted.RefTime = r.opts.Now().UTC()
			return trusted, nil
		}
	}
	return nil, refuse("cannot use the trusted root: %w", err).WithHint("give the repository's root.json with --root FILE, from a source that you trust")
}

// roots follows the chain of roots, each signed by the one before it: first the stored
// ones, then the server's. The stored roots are not trusted: they are verified again
// from the trusted root.
func (f *refresh) roots(ctx context.Context) error {
	for {
		name := f.nextRoot()
		data, err := f.readState(name, maxRoot)
		if data == nil && err == nil {
			break
		}
		if err == nil {
			_, err = f.update(metadata.ROOT, data)
		}
		if err != nil {
			f.warnIgnored(name, err)
			break
		}
	}
	for range f.rotations {
		name := f.nextRoot()
		data, err := f.fetch(ctx, "metadata/"+name, maxRoot)
		if fetch.Missing(err) {
			return f.finalRoot()
		}
		if err != nil {
			return err
		}
		if skeleton, err := f.update(metadata.ROOT, data); err != nil {
			return f.explain(metadata.ROOT, skeleton, err)
		}
		if err := f.writeState(name, data); err != nil {
			return err
		}
	}
	return refuse("cannot follow the repository's roots: it has more than %d new ones", f.rotations).
		WithHint("install a newer release by hand: it contains a newer root")
}

func (f *refresh) nextRoot() string {
	return fmt.Sprintf("%d.root.json", f.trusted.Root.Signed.Version+1)
}

func (f *refresh) finalRoot() error {
	root := &f.trusted.Root.Signed
	if root.IsExpired(f.trusted.RefTime) {
		return f.expired(metadata.ROOT, root.Expires)
	}
	if !root.ConsistentSnapshot {
		return refuse("cannot use the repository: its root declares that file names contain no versions (consistent_snapshot)")
	}
	return nil
}

func (f *refresh) timestamp(ctx context.Context) error {
	const name = "timestamp.json"
	if data, err := f.readState(name, maxTimestamp); err != nil || data != nil {
		if err == nil {
			_, err = f.update(metadata.TIMESTAMP, data)
		}
		f.warnUnlessStale(name, err)
	}
	data, err := f.fetch(ctx, "metadata/"+name, maxTimestamp)
	if fetch.Missing(err) {
		return notRepository(f.base)
	}
	if err != nil {
		return err
	}
	skeleton, err := f.update(metadata.TIMESTAMP, data)
	if errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		if known := &f.trusted.Timestamp.Signed; known.IsExpired(f.trusted.RefTime) {
			return f.expired(metadata.TIMESTAMP, known.Expires)
		}
		return nil
	}
	if err != nil {
		return f.explain(metadata.TIMESTAMP, skeleton, err)
	}
	return f.writeState(name, data)
}

func (f *refresh) snapshot(ctx context.Context) error {
	const name = "snapshot.json"
	meta := f.trusted.Timestamp.Signed.Meta[name]
	if data, err := f.readState(name, maxSnapshot); err != nil || data != nil {
		if err == nil {
			if _, err = readSkeleton(metadata.SNAPSHOT, data); err == nil {
				_, err = f.trusted.UpdateSnapshot(data, true)
			}
		}
		if err == nil && meta.VerifyLengthHashes(data) == nil {
			return nil
		}
		f.warnUnlessStale(name, err)
	}
	data, err := f.fetchNamed(ctx, metadata.SNAPSHOT, meta, maxSnapshot)
	if err != nil {
		return err
	}
	if skeleton, err := f.update(metadata.SNAPSHOT, data); err != nil {
		return f.explain(metadata.SNAPSHOT, skeleton, err)
	}
	return f.writeState(name, data)
}

func (f *refresh) targetsFile(ctx context.Context) error {
	const name = "targets.json"
	meta := f.trusted.Snapshot.Signed.Meta[name]
	if data, err := f.readState(name, maxTargets); err != nil || data != nil {
		if err == nil {
			if _, err = f.update(metadata.TARGETS, data); err == nil {
				return nil
			}
		}
		f.warnUnlessStale(name, err)
	}
	data, err := f.fetchNamed(ctx, metadata.TARGETS, meta, maxTargets)
	if err != nil {
		return err
	}
	if skeleton, err := f.update(metadata.TARGETS, data); err != nil {
		return f.explain(metadata.TARGETS, skeleton, err)
	}
	return f.writeState(name, data)
}

// fetchNamed fetches the version of a file that other metadata names.
func (f *refresh) fetchNamed(ctx context.Context, role string, meta *metadata.MetaFiles, limit int64) ([]byte, error) {
	name := fmt.Sprintf("%d.%s.json", meta.Version, role)
	data, err := f.fetch(ctx, "metadata/"+name, limit)
	if fetch.Missing(err) {
		return nil, refuse("cannot trust the repository: it lacks %s, which its own metadata names", name)
	}
	return data, err
}

// update passes a file to the trusted set, which verifies and stores it.
func (f *refresh) update(role string, data []byte) (*metadataSkeleton, error) {
	s, err := readSkeleton(role, data)
	if err != nil {
		return nil, err
	}
	switch role {
	case metadata.ROOT:
		_, err = f.trusted.UpdateRoot(data)
	case metadata.TIMESTAMP:
		_, err = f.trusted.UpdateTimestamp(data)
	case metadata.SNAPSHOT:
		_, err = f.trusted.UpdateSnapshot(data, false)
	case metadata.TARGETS:
		_, err = f.trusted.UpdateTargets(data)
	}
	return s, err
}

// warnUnlessStale reports a stored file that could not be used. Most are only older
// than the server's, or signed by keys that a newer root replaced (5.3.11): these need
// no warning.
func (f *refresh) warnUnlessStale(name string, err error) {
	if err != nil && !errors.Is(err, &metadata.ErrRepository{}) {
		f.warnIgnored(name, err)
	}
}

func (f *refresh) warnIgnored(name string, err error) {
	f.warnings = append(f.warnings, fmt.Sprintf("%s in %s was ignored: %v", name, f.opts.Dir, err))
}
