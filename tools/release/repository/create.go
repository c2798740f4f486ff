package repository

import (
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/host/fsx"
)

// RootFile is the name of the first root, in the directory of the keys.
const RootFile = "root.json"

// Create makes the keys of a repository and its first root, signed by all root keys;
// threshold of them are needed to replace it.
func Create(dir string, rootKeys, threshold int, valid time.Duration, now time.Time) error {
	if threshold < 1 || threshold > rootKeys {
		return api.Errorf(api.KindInvalid, "cannot make keys: %d of %d root keys is not a valid threshold", threshold, rootKeys)
	}
	path := filepath.Join(dir, RootFile)
	if _, err := os.Stat(path); err == nil {
		return api.Errorf(api.KindExists, "cannot make keys: %s exists", path).
			WithHint("go run ./tools/release keys %s --only ROLE   makes one more", dir)
	}
	root := metadata.Root(expires(now, valid))
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		count := 1
		if role == metadata.ROOT {
			count = rootKeys
		}
		for range count {
			if err := addNewKey(root, dir, role); err != nil {
				return err
			}
		}
	}
	root.Signed.Roles[metadata.ROOT].Threshold = threshold
	keys, err := LoadKeys(dir)
	if err != nil {
		return err
	}
	if err := sign(root, metadata.ROOT, root, keys); err != nil {
		return err
	}
	data, err := root.ToBytes(true)
	if err != nil {
		return err
	}
	return fsx.DiskError("write "+path, fsx.WriteFile(path, data, 0o644))
}

func addNewKey(root *rootMeta, dir, role string) error {
	path, err := NewKey(dir, role)
	if err != nil {
		return err
	}
	key, _, err := LoadPublic(path)
	if err != nil {
		return err
	}
	return root.Signed.AddKey(key, role)
}
