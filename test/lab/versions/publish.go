package versions

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"banger/internal/update/release"
	"banger/tools/release/dist"
	"banger/tools/release/repository"
)

// The repositories, by their names.
const (
	Offers  = "good"    // Base and Good
	Later   = "later"   // the versions after Good
	Aged    = "older"   // Offers as it was when Good was not out
	Expired = "expired" // its timestamp is out of date
	Altered = "altered" // a byte of its archive is another one
	Foreign = "foreign" // signed with other keys
)

var sound = repository.Expiry{Root: validity, Targets: validity, Snapshot: validity, Timestamp: validity}

// publish makes the repositories.
func (b *builder) publish(keys string) error {
	other := filepath.Join(b.stage, "other-keys")
	otherRoot, err := newKeys(other)
	if err != nil {
		return err
	}
	now := repository.Options{Expiry: sound, Root: b.root}
	past := repository.Options{Root: b.root, Now: func() time.Time { return time.Now().Add(-30 * 24 * time.Hour) }}
	foreign := repository.Options{Expiry: sound, Root: otherRoot}
	return errors.Join(
		b.offer(Offers, keys, now, Base),
		os.CopyFS(filepath.Join(b.dir(Aged), "metadata"), os.DirFS(filepath.Join(b.dir(Offers), "metadata"))),
		b.offer(Offers, keys, now, Good),
		b.offer(Later, keys, now, offered()...),
		b.offer(Expired, keys, past, Good),
		b.offer(Foreign, other, foreign, Good),
		b.offer(Altered, keys, now, Good),
		alter(b.dir(Altered)),
		// Nobody gets as far as to their archives.
		os.RemoveAll(filepath.Join(b.dir(Expired), "targets")),
		os.RemoveAll(filepath.Join(b.dir(Foreign), "targets")),
	)
}

func (b *builder) dir(name string) string { return filepath.Join(b.out, "repository", name) }

// offer publishes versions in a repository, which is made where it is not.
func (b *builder) offer(name, keyDir string, o repository.Options, versions ...string) error {
	if err := os.MkdirAll(b.dir(name), 0o755); err != nil {
		return err
	}
	keys, err := repository.LoadKeys(keyDir)
	if err != nil {
		return err
	}
	r, err := repository.Open(b.dir(name), o)
	if err != nil {
		return err
	}
	defer r.Close()
	archives := map[string]dist.Archived{}
	for _, v := range versions {
		archives[release.Target(v, "linux", runtime.GOARCH)] = b.archives[v]
	}
	return r.Publish(archives, nil, keys)
}

// alter changes a byte in the middle of each archive of a repository.
func alter(dir string) error {
	archives, err := filepath.Glob(filepath.Join(dir, "targets", "*"))
	for _, path := range archives {
		data, readErr := os.ReadFile(path)
		if readErr == nil {
			data[len(data)/2] ^= 1
			readErr = os.WriteFile(path, data, 0o644)
		}
		err = errors.Join(err, readErr)
	}
	return err
}
