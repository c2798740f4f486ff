package builds

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"banger/internal/update/release"
	"banger/test/lab/versions"
	"banger/tools/release/dist"
	"banger/tools/release/repository"
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
		b.offer(versions.Offers, keys, now, versions.Base),
		os.CopyFS(filepath.Join(b.dir(versions.Aged), "metadata"), os.DirFS(filepath.Join(b.dir(versions.Offers), "metadata"))),
		b.offer(versions.Offers, keys, now, versions.Good),
		b.offer(versions.Later, keys, now, versions.Offered()...),
		b.offer(versions.Expired, keys, past, versions.Good),
		b.offer(versions.Foreign, other, foreign, versions.Good),
		b.offer(versions.Altered, keys, now, versions.Good),
		alter(b.dir(versions.Altered)),
		// Nobody gets as far as to their archives.
		os.RemoveAll(filepath.Join(b.dir(versions.Expired), "targets")),
		os.RemoveAll(filepath.Join(b.dir(versions.Foreign), "targets")),
	)
}

func (b *builder) dir(name string) string { return filepath.Join(b.out, "repository", name) }

// offer publishes versions in a repository, which is made where it is not.
func (b *builder) offer(repo, keyDir string, o repository.Options, names ...string) error {
	if err := os.MkdirAll(b.dir(repo), 0o755); err != nil {
		return err
	}
	keys, err := repository.LoadKeys(keyDir)
	if err != nil {
		return err
	}
	r, err := repository.Open(b.dir(repo), o)
	if err != nil {
		return err
	}
	defer r.Close()
	archives := map[string]dist.Archived{}
	for _, name := range names {
		archives[release.Target(name, "linux", runtime.GOARCH)] = b.archives[name]
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
