package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/host/fsx"
)

// sign signs a role's metadata again, with all available keys that the root assigns to
// the role.
func sign[T metadata.Roles](root *rootMeta, role string, m *metadata.Metadata[T], keys Keys) error {
	m.ClearSignatures()
	trusted := root.Signed.Roles[role]
	count := 0
	for _, id := range trusted.KeyIDs {
		signer, ok := keys[id]
		if !ok {
			continue
		}
		if _, err := m.Sign(signer); err != nil {
			return api.Errorf(api.KindInternal, "cannot sign %s: %w", role, err)
		}
		count++
	}
	if count < trusted.Threshold {
		return api.Errorf(api.KindDenied, "cannot sign %s: it needs %d keys, but only %d are available", role, trusted.Threshold, count).
			WithHint("--keys DIRECTORY, once for each place that has keys; the status command names them")
	}
	if err := root.VerifyDelegate(role, m); err != nil {
		return api.Errorf(api.KindInternal, "cannot sign %s: %w", role, err)
	}
	return nil
}

// signed is metadata that is ready to be written.
type signed struct {
	name string
	data []byte
}

// signTargets makes the next targets, snapshot and timestamp.
func (r *Repository) signTargets(keys Keys) ([]signed, error) {
	t := r.targets
	t.Signed.Version, t.Signed.Expires = t.Signed.Version+1, r.expires(r.expiry.Targets)
	if err := sign(r.root, metadata.TARGETS, t, keys); err != nil {
		return nil, err
	}
	data, err := t.ToBytes(true)
	if err != nil {
		return nil, err
	}
	r.snapshot.Signed.Meta["targets.json"] = describe(t.Signed.Version, data)
	rest, err := r.signSnapshot(keys)
	return append([]signed{{versioned(t.Signed.Version, metadata.TARGETS), data}}, rest...), err
}

// signSnapshot makes the next snapshot and timestamp.
func (r *Repository) signSnapshot(keys Keys) ([]signed, error) {
	s := r.snapshot
	s.Signed.Version, s.Signed.Expires = s.Signed.Version+1, r.expires(r.expiry.Snapshot)
	if err := sign(r.root, metadata.SNAPSHOT, s, keys); err != nil {
		return nil, err
	}
	data, err := s.ToBytes(true)
	if err != nil {
		return nil, err
	}
	r.timestamp.Signed.Meta["snapshot.json"] = describe(s.Signed.Version, data)
	rest, err := r.signTimestamp(keys)
	return append([]signed{{versioned(s.Signed.Version, metadata.SNAPSHOT), data}}, rest...), err
}

// signTimestamp makes the next timestamp.
func (r *Repository) signTimestamp(keys Keys) ([]signed, error) {
	t := r.timestamp
	t.Signed.Version, t.Signed.Expires = t.Signed.Version+1, r.expires(r.expiry.Timestamp)
	if err := sign(r.root, metadata.TIMESTAMP, t, keys); err != nil {
		return nil, err
	}
	data, err := t.ToBytes(true)
	return []signed{{"timestamp.json", data}}, err
}

// describe returns the description of metadata that prevents a server from sending
// other or endless data.
func describe(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// writeAll writes metadata, the timestamp last: until then clients see the old
// metadata, and an interrupted run can be repeated.
func (r *Repository) writeAll(files []signed) error {
	for _, f := range files {
		if err := r.write(f.name, f.data); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repository) write(name string, data []byte) error {
	return fsx.DiskError("write "+name, fsx.WriteFile(r.metadataPath(name), data, 0o644))
}

// Timestamp signs the timestamp again, with only the online key.
func (r *Repository) Timestamp(keys Keys) error {
	if err := r.begun("sign its timestamp"); err != nil {
		return err
	}
	files, err := r.signTimestamp(keys)
	if err != nil {
		return err
	}
	return r.writeAll(files)
}

// Renew signs targets, snapshot and timestamp again, unchanged.
func (r *Repository) Renew(keys Keys) error {
	if err := r.begun("renew it"); err != nil {
		return err
	}
	files, err := r.signTargets(keys)
	if err != nil {
		return err
	}
	return r.writeAll(files)
}

func (r *Repository) begun(verb string) error {
	if r.timestamp.Signed.Version == 0 {
		return api.Errorf(api.KindConflict, "cannot %s: nothing was published in %s", verb, r.dir)
	}
	return nil
}

func (r *Repository) targetPath(name string, sum []byte) string {
	return filepath.Join(r.dir, "targets", hex.EncodeToString(sum)+"."+name)
}

// expired reports whether something expired before now.
func (r *Repository) expired(at time.Time) bool { return !r.now().Before(at) }
