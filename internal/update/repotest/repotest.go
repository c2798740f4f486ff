// Package repotest makes signed release repositories for tests and lab scenarios,
// attacks on them, hostile archives, and a server that misbehaves. It is not for
// publishing: its keys exist only in memory.
package repotest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/internal/update/release"
)

// thresholds are the number of keys of each role, and how many of them must sign.
var thresholds = map[string]struct{ keys, needed int }{
	metadata.ROOT:      {3, 2},
	metadata.TARGETS:   {3, 2},
	metadata.SNAPSHOT:  {1, 1},
	metadata.TIMESTAMP: {1, 1},
}

// Repo is a repository in a directory that any file server can serve.
type Repo struct {
	Dir string
	// Expires is the expiry that the next Publish gives each role.
	Expires map[string]time.Time
	// Signers are the keys that the next Publish signs each role with: those in the
	// root, until a test changes them.
	Signers map[string][]ed25519.PrivateKey
	// Bare omits the optional fields of other metadata's descriptions: length and
	// hashes (TUF specification, 4.4).
	Bare bool

	root     []byte // the first root, which clients trust
	roles    *metadata.RootType
	rootKeys []ed25519.PrivateKey // of the last root
	targets  map[string]*metadata.TargetFiles
	version  int64 // of targets, snapshot and timestamp
}

// New makes the keys, and the first root in dir, which must be empty. Everything
// expires in a week.
func New(dir string) (*Repo, error) {
	r := &Repo{Dir: dir, Expires: map[string]time.Time{}, Signers: map[string][]ed25519.PrivateKey{}, targets: map[string]*metadata.TargetFiles{}}
	for _, d := range []string{"metadata", "targets"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	r.roles = &metadata.Root(time.Now().Add(7 * 24 * time.Hour).UTC().Truncate(time.Second)).Signed
	r.roles.Version = 0
	for role := range thresholds {
		r.Expires[role] = r.roles.Expires
		if err := r.newKeys(role); err != nil {
			return nil, err
		}
	}
	err := r.PublishRoot()
	if err == nil {
		r.root, err = os.ReadFile(r.Metadata("1.root.json"))
	}
	return r, err
}

// Root returns the first root.json.
func (r *Repo) Root() []byte { return r.root }

// Metadata returns the path of a metadata file.
func (r *Repo) Metadata(name string) string { return filepath.Join(r.Dir, "metadata", name) }

// Archive returns the path of a published archive.
func (r *Repo) Archive(name string) string {
	return filepath.Join(r.Dir, "targets", hex.EncodeToString(r.targets[name].Hashes["sha256"])+"."+name)
}

// Key makes a key that is not in any root.
func Key() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand.Read never fails
	}
	return key
}

// NewKeys gives a role new keys, and revokes its old ones. PublishRoot and Publish
// apply it.
func (r *Repo) NewKeys(role string) error {
	old := r.roles.Roles[role].KeyIDs
	if err := r.newKeys(role); err != nil {
		return err
	}
	for _, id := range old {
		if err := r.roles.RevokeKey(id, role); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) newKeys(role string) error {
	r.Signers[role] = nil
	for range thresholds[role].keys {
		private := Key()
		key, err := metadata.KeyFromPublicKey(private.Public())
		if err == nil {
			err = r.roles.AddKey(key, role)
		}
		if err != nil {
			return err
		}
		r.Signers[role] = append(r.Signers[role], private)
	}
	r.roles.Roles[role].Threshold = thresholds[role].needed
	return nil
}

// PublishRoot writes the next root, signed by the last one's keys and its own.
func (r *Repo) PublishRoot() error {
	r.roles.Version++
	r.roles.Expires = r.Expires[metadata.ROOT]
	m := &metadata.Metadata[metadata.RootType]{Signed: *r.roles}
	signers := r.Signers[metadata.ROOT]
	for _, k := range r.rootKeys {
		if !contains(signers, k) {
			signers = append(signers[:len(signers):len(signers)], k)
		}
	}
	data, err := Sign(m, signers...)
	if err != nil {
		return err
	}
	r.rootKeys = r.Signers[metadata.ROOT]
	return os.WriteFile(r.Metadata(fmt.Sprintf("%d.root.json", r.roles.Version)), data, 0o644)
}

func contains(keys []ed25519.PrivateKey, k ed25519.PrivateKey) bool {
	for _, other := range keys {
		if other.Equal(k) {
			return true
		}
	}
	return false
}

// Info describes a release for tests.
func Info(version, platform string) release.Info {
	return release.Info{Version: version, Platform: platform, Commit: "0123456789ab", BuiltAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// Add adds an archive, and returns its name. Publish publishes it.
func (r *Repo) Add(info release.Info, archive []byte) (string, error) {
	goos, goarch, _ := strings.Cut(info.Platform, "/")
	custom, err := json.Marshal(info)
	if err != nil {
		return "", err
	}
	name := release.Target(info.Version, goos, goarch)
	return name, r.AddTarget(name, archive, custom)
}

// AddTarget adds any file with any description.
func (r *Repo) AddTarget(name string, data []byte, custom json.RawMessage) error {
	sum := sha256.Sum256(data)
	t := &metadata.TargetFiles{Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
	if custom != nil {
		t.Custom = &custom
	}
	r.targets[name] = t
	return os.WriteFile(r.Archive(name), data, 0o644)
}

// Target returns the description of a target in the next Publish, for changes.
func (r *Repo) Target(name string) *metadata.TargetFiles { return r.targets[name] }

// Publish writes the next version of targets, snapshot and timestamp.
func (r *Repo) Publish() error {
	r.version++
	targets := metadata.Targets(r.Expires[metadata.TARGETS])
	targets.Signed.Version, targets.Signed.Targets = r.version, r.targets
	data, err := Sign(targets, r.Signers[metadata.TARGETS]...)
	if err != nil {
		return err
	}
	snapshot := metadata.Snapshot(r.Expires[metadata.SNAPSHOT])
	snapshot.Signed.Version = r.version
	snapshot.Signed.Meta["targets.json"] = r.fileOf(r.version, data)
	snapshotData, err := Sign(snapshot, r.Signers[metadata.SNAPSHOT]...)
	if err != nil {
		return err
	}
	return errors.Join(
		r.write(fmt.Sprintf("%d.targets.json", r.version), data),
		r.write(fmt.Sprintf("%d.snapshot.json", r.version), snapshotData),
		r.publishTimestamp(snapshotData),
	)
}

// publishTimestamp also stores every timestamp by its version, for Older.
func (r *Repo) publishTimestamp(snapshot []byte) error {
	m := metadata.Timestamp(r.Expires[metadata.TIMESTAMP])
	m.Signed.Version = r.version
	m.Signed.Meta["snapshot.json"] = r.fileOf(r.version, snapshot)
	data, err := Sign(m, r.Signers[metadata.TIMESTAMP]...)
	if err != nil {
		return err
	}
	return errors.Join(r.write("timestamp.json", data), r.write(fmt.Sprintf("%d.timestamp.json", r.version), data))
}

func (r *Repo) write(name string, data []byte) error {
	return os.WriteFile(r.Metadata(name), data, 0o644)
}

func (r *Repo) fileOf(version int64, data []byte) *metadata.MetaFiles {
	if r.Bare {
		return metadata.MetaFile(version)
	}
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// Sign signs metadata again with keys and returns the file.
func Sign[T metadata.Roles](m *metadata.Metadata[T], keys ...ed25519.PrivateKey) ([]byte, error) {
	m.Signatures = []metadata.Signature{}
	for _, k := range keys {
		signer, err := signature.LoadED25519Signer(k)
		if err == nil {
			_, err = m.Sign(signer)
		}
		if err != nil {
			return nil, err
		}
	}
	return m.ToBytes(false)
}
