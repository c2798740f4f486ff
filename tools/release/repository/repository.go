// Package repository maintains the repository that `banger update` trusts, as files for
// any static server: metadata of The Update Framework (TUF, specification 1.0.31, with
// consistent snapshots) and the archives.
package repository

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sys/unix"

	"banger/api"
)

type (
	rootMeta      = metadata.Metadata[metadata.RootType]
	targetsMeta   = metadata.Metadata[metadata.TargetsType]
	snapshotMeta  = metadata.Metadata[metadata.SnapshotType]
	timestampMeta = metadata.Metadata[metadata.TimestampType]
)

// Repository is an open repository. It is locked until it is closed.
type Repository struct {
	dir       string
	expiry    Expiry
	now       func() time.Time
	lock      *os.File
	root      *rootMeta
	targets   *targetsMeta
	snapshot  *snapshotMeta
	timestamp *timestampMeta
}

// Expiry is how long each role's metadata is valid.
type Expiry struct{ Root, Targets, Snapshot, Timestamp time.Duration }

const day = 24 * time.Hour

// DefaultExpiry is for root's holders to meet once a year. Targets and snapshot are
// signed with the same hands, at each release and at least twice a year. The
// timestamp is what stops somebody from hiding a release for ever: it is signed
// by a machine, every day, and a machine that stands still for a weekend does
// no harm.
var DefaultExpiry = Expiry{Root: 365 * day, Targets: 180 * day, Snapshot: 180 * day, Timestamp: 7 * day}

// Options are the options of Open.
type Options struct {
	Expiry Expiry           // the zero value: DefaultExpiry
	Now    func() time.Time // nil: the clock
	// Root creates a repository if there is none: the root.json made by Create.
	Root []byte
}

// Open reads a repository and verifies it, except for expiry: metadata with wrong
// signatures is not signed again.
func Open(dir string, o Options) (*Repository, error) {
	r := &Repository{dir: dir, expiry: o.Expiry, now: o.Now}
	if r.expiry == (Expiry{}) {
		r.expiry = DefaultExpiry
	}
	if r.now == nil {
		r.now = time.Now
	}
	if err := r.begin(o.Root); err != nil {
		return nil, err
	}
	if err := r.load(); err != nil {
		r.Close()
		return nil, api.Errorf(api.KindInvalid, "cannot read repository %s: %w", dir, err)
	}
	return r, nil
}

// Close unlocks the repository.
func (r *Repository) Close() error { return r.lock.Close() }

// begin locks the repository, and creates it if it does not exist.
func (r *Repository) begin(root []byte) error {
	if _, err := os.Stat(r.metadataPath("1.root.json")); errors.Is(err, os.ErrNotExist) && root == nil {
		return api.Errorf(api.KindNotFound, "cannot open repository %s: it does not exist", r.dir).
			WithHint("go run ./tools/release publish --repository %s --root KEYS/root.json …   creates it", r.dir)
	}
	for _, dir := range []string{"metadata", "targets"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			return api.AsError(err)
		}
	}
	var err error
	if r.lock, err = os.Open(r.dir); err != nil {
		return api.AsError(err)
	}
	if err := unix.Flock(int(r.lock.Fd()), unix.LOCK_EX); err != nil {
		r.lock.Close()
		return api.Errorf(api.KindInternal, "cannot lock repository %s: %w", r.dir, err)
	}
	if root == nil {
		return nil
	}
	if err := r.firstRoot(root); err != nil {
		r.lock.Close()
		return err
	}
	return nil
}

// firstRoot writes the first root, or checks that it is the existing one.
func (r *Repository) firstRoot(data []byte) error {
	path := r.metadataPath("1.root.json")
	there, err := os.ReadFile(path)
	if err == nil {
		if string(there) != string(data) {
			return api.Errorf(api.KindConflict, "cannot create repository %s: it exists with another root", r.dir)
		}
		return nil
	}
	root, err := (&rootMeta{}).FromBytes(data)
	if err == nil {
		err = root.VerifyDelegate(metadata.ROOT, root)
	}
	if err == nil && root.Signed.Version != 1 {
		err = fmt.Errorf("it is version %d, not the first", root.Signed.Version)
	}
	if err != nil {
		return api.Errorf(api.KindInvalid, "cannot create repository %s: its root: %w", r.dir, err)
	}
	return r.write("1.root.json", data)
}

func (r *Repository) metadataPath(name string) string {
	return filepath.Join(r.dir, "metadata", name)
}

// load reads the roots, each verified with the one before, and the metadata that the
// timestamp names.
func (r *Repository) load() error {
	if err := r.loadRoot(); err != nil {
		return err
	}
	if err := r.finishRotation(); err != nil {
		return err
	}
	if _, err := os.Stat(r.metadataPath("timestamp.json")); errors.Is(err, os.ErrNotExist) {
		r.targets, r.snapshot, r.timestamp = metadata.Targets(), metadata.Snapshot(), metadata.Timestamp()
		r.targets.Signed.Version, r.snapshot.Signed.Version, r.timestamp.Signed.Version = 0, 0, 0
		return nil
	}
	var err error
	if r.timestamp, err = read[metadata.TimestampType](r, "timestamp.json", metadata.TIMESTAMP, nil); err != nil {
		return err
	}
	m := r.timestamp.Signed.Meta["snapshot.json"]
	if r.snapshot, err = read[metadata.SnapshotType](r, versioned(m.Version, metadata.SNAPSHOT), metadata.SNAPSHOT, m); err != nil {
		return err
	}
	m = r.snapshot.Signed.Meta["targets.json"]
	r.targets, err = read[metadata.TargetsType](r, versioned(m.Version, metadata.TARGETS), metadata.TARGETS, m)
	return err
}

func (r *Repository) loadRoot() error {
	for version := int64(1); ; version++ {
		next, err := (&rootMeta{}).FromFile(r.metadataPath(versioned(version, metadata.ROOT)))
		if errors.Is(err, os.ErrNotExist) && r.root != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("root %d: %w", version, err)
		}
		before := r.root
		if before == nil {
			before = next
		}
		err = errors.Join(before.VerifyDelegate(metadata.ROOT, next), next.VerifyDelegate(metadata.ROOT, next))
		if err == nil && next.Signed.Version != version {
			err = fmt.Errorf("it contains version %d", next.Signed.Version)
		}
		if err != nil {
			return fmt.Errorf("root %d: %w", version, err)
		}
		r.root = next
	}
}

// read reads the metadata of a role, and compares it with its description.
func read[T metadata.Roles](r *Repository, name, role string, said *metadata.MetaFiles) (*metadata.Metadata[T], error) {
	data, err := os.ReadFile(r.metadataPath(name))
	if err != nil {
		return nil, err
	}
	if said != nil {
		if err := said.VerifyLengthHashes(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	m, err := (&metadata.Metadata[T]{}).FromBytes(data)
	if err == nil {
		err = r.root.VerifyDelegate(role, m)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func versioned(version int64, role string) string {
	return strconv.FormatInt(version, 10) + "." + role + ".json"
}

// expires returns an expiry time, in whole seconds (specification, 4.2.1).
func (r *Repository) expires(in time.Duration) time.Time { return expires(r.now(), in) }

func expires(now time.Time, in time.Duration) time.Time {
	return now.UTC().Add(in).Truncate(time.Second)
}

// shortID is the short form of a key's id in messages.
func shortID(id string) string { return strings.ToLower(id[:min(12, len(id))]) }
