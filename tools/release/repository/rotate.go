package repository

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/host/fsx"
)

// Rotation describes the changes of the next root; without any, only its expiry
// changes.
type Rotation struct {
	Add       []RoleKey
	Remove    []string // ids, or prefixes of them
	Threshold map[string]int
}

// RoleKey is a public key for a role.
type RoleKey struct {
	Role string
	File string
}

// Rotate makes the next root and signs it with the available root keys. It is valid
// when it has the signatures that the present root requires, and those that it requires
// itself (specification, 5.3.4): then Rotate publishes it, and signs again what its
// keys no longer cover. Until then the root is kept in the file draft, for the holders
// of other keys, and Rotate returns false.
func (r *Repository) Rotate(rotation Rotation, keys Keys, draft string) (bool, error) {
	next, err := r.nextRoot(rotation, draft)
	if err != nil {
		return false, err
	}
	if err := addSignatures(next, r.root, keys); err != nil {
		return false, err
	}
	missing := errors.Join(r.root.VerifyDelegate(metadata.ROOT, next), next.VerifyDelegate(metadata.ROOT, next))
	if missing != nil && draft == "" {
		return false, api.Errorf(api.KindDenied, "cannot rotate the root: %s of the present root's keys have signed, and %s of the next one's", signedOf(r.root, next), signedOf(next, next)).
			WithHint("--keys DIRECTORY for each place that has root keys, or --draft FILE to sign it in several places one after the other")
	}
	data, err := next.ToBytes(true)
	if err != nil {
		return false, err
	}
	if missing != nil {
		return false, fsx.DiskError("write "+draft, fsx.WriteFile(draft, data, 0o644))
	}
	if err := r.publishRoot(next, data, keys); err != nil {
		return false, err
	}
	if draft == "" {
		return true, nil
	}
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return true, api.AsError(err)
	}
	return true, nil
}

// nextRoot returns the draft, if there is one, or the present root with the changes.
func (r *Repository) nextRoot(rotation Rotation, draft string) (*rootMeta, error) {
	if draft != "" {
		next, err := (&rootMeta{}).FromFile(draft)
		if err == nil {
			return next, r.checkDraft(next, rotation, draft)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, api.Errorf(api.KindInvalid, "cannot read %s: %w", draft, err)
		}
	}
	data, err := r.root.ToBytes(false)
	if err != nil {
		return nil, err
	}
	next, err := (&rootMeta{}).FromBytes(data)
	if err != nil {
		return nil, err
	}
	next.ClearSignatures()
	next.Signed.Version, next.Signed.Expires = next.Signed.Version+1, r.expires(r.expiry.Root)
	return next, rotation.apply(&next.Signed)
}

func (r *Repository) checkDraft(next *rootMeta, rotation Rotation, draft string) error {
	if len(rotation.Add)+len(rotation.Remove)+len(rotation.Threshold) > 0 {
		return api.Errorf(api.KindConflict, "cannot change %s: it has signatures already", draft).WithHint("rm %s   to start again", draft)
	}
	if next.Signed.Version != r.root.Signed.Version+1 {
		return api.Errorf(api.KindConflict, "cannot publish %s: it is root %d, but %d is next", draft, next.Signed.Version, r.root.Signed.Version+1).
			WithHint("rm %s   to start again", draft)
	}
	return nil
}

func (n Rotation) apply(root *metadata.RootType) error {
	for _, a := range n.Add {
		if err := validRole(a.Role); err != nil {
			return err
		}
		key, _, err := LoadPublic(a.File)
		if err != nil {
			return err
		}
		if err := root.AddKey(key, a.Role); err != nil {
			return api.Errorf(api.KindInvalid, "cannot add key %s: %w", a.File, err)
		}
	}
	for _, id := range n.Remove {
		if err := removeKey(root, id); err != nil {
			return err
		}
	}
	for role, count := range n.Threshold {
		if err := validRole(role); err != nil {
			return err
		}
		root.Roles[role].Threshold = count
	}
	for role, has := range root.Roles {
		if has.Threshold < 1 || has.Threshold > len(has.KeyIDs) {
			return api.Errorf(api.KindInvalid, "cannot rotate the root: %s would have %d keys, but needs %d signatures", role, len(has.KeyIDs), has.Threshold)
		}
	}
	return nil
}

// removeKey removes a key from all its roles.
func removeKey(root *metadata.RootType, start string) error {
	const least = 8 // digits, so that no other key is removed by mistake
	var ids []string
	for id := range root.Keys {
		if len(start) >= least && len(id) >= len(start) && id[:len(start)] == start {
			ids = append(ids, id)
		}
	}
	if len(ids) != 1 {
		return api.Errorf(api.KindNotFound, "cannot remove key %q: %d keys match", start, len(ids)).
			WithHint("the status command names them; %d digits are enough", least)
	}
	for role, has := range root.Roles {
		if slices.Contains(has.KeyIDs, ids[0]) {
			if err := root.RevokeKey(ids[0], role); err != nil {
				return api.Errorf(api.KindInvalid, "cannot remove key %s: %w", start, err)
			}
		}
	}
	return nil
}

// addSignatures signs with the keys of either root that have not signed yet.
func addSignatures(next, present *rootMeta, keys Keys) error {
	ids := slices.Concat(present.Signed.Roles[metadata.ROOT].KeyIDs, next.Signed.Roles[metadata.ROOT].KeyIDs)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		signer, at := keys[id]
		if !at || slices.ContainsFunc(next.Signatures, func(s metadata.Signature) bool { return s.KeyID == id }) {
			continue
		}
		if _, err := next.Sign(signer); err != nil {
			return api.Errorf(api.KindInternal, "cannot sign the root: %w", err)
		}
	}
	return nil
}

// signedOf describes how many of a root's keys have signed the next one, and how many
// must.
func signedOf(root, next *rootMeta) string {
	role := root.Signed.Roles[metadata.ROOT]
	count := 0
	for _, s := range next.Signatures {
		if slices.Contains(role.KeyIDs, s.KeyID) {
			count++
		}
	}
	return fmt.Sprintf("%d of %d", count, role.Threshold)
}

// publishRoot signs first and then writes, so that a missing key changes nothing.
func (r *Repository) publishRoot(next *rootMeta, data []byte, keys Keys) error {
	r.root = next
	var files []signed
	var err error
	switch {
	case r.timestamp.Signed.Version == 0:
	case next.VerifyDelegate(metadata.TARGETS, r.targets) != nil:
		files, err = r.signTargets(keys)
	case next.VerifyDelegate(metadata.SNAPSHOT, r.snapshot) != nil:
		files, err = r.signSnapshot(keys)
	case next.VerifyDelegate(metadata.TIMESTAMP, r.timestamp) != nil:
		files, err = r.signTimestamp(keys)
	}
	if err != nil {
		return err
	}
	root := signed{versioned(next.Signed.Version, metadata.ROOT), data}
	if len(files) == 0 {
		return r.writeAll([]signed{root})
	}
	last := len(files) - 1
	files[last].name = nextTimestamp
	if err := r.writeAll(append(files, root)); err != nil {
		return err
	}
	return r.finishRotation()
}

// nextTimestamp is the file name of a root's new timestamp until the root is written:
// two files cannot be written atomically.
const nextTimestamp = ".timestamp.next"

// finishRotation moves a new root's timestamp to its place, or removes it if the root
// was not written.
func (r *Repository) finishRotation() error {
	path := r.metadataPath(nextTimestamp)
	t, err := (&timestampMeta{}).FromFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = r.root.VerifyDelegate(metadata.TIMESTAMP, t)
	}
	if err != nil {
		return os.Remove(path)
	}
	return errors.Join(os.Rename(path, r.metadataPath("timestamp.json")), fsx.SyncDir(filepath.Dir(path)))
}
