// Package builds makes what test/lab/versions names: the programs of all versions, and
// the repositories that offer them.
package builds

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"banger/internal/update/release"
	"banger/test/lab/versions"
	"banger/tools/release/dist"
	"banger/tools/release/repository"
)

// validity is how long the keys and the sound metadata are good: as long as the cache
// is.
const validity = 10 * 365 * 24 * time.Hour

// builtAt is the build time in all versions.
var builtAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Build returns a directory named updates with
//
//	programs/VERSION/    the programs of versions to install
//	repository/NAME/     release repositories, see publish
//
// It is built from the sources in a repository and kept in the directory cache, so that
// it is built once for the same sources.
func Build(ctx context.Context, checkout, cache string, say io.Writer) (string, error) {
	if err := removeOld(cache); err != nil {
		return "", err
	}
	stage, err := os.MkdirTemp(cache, ".versions-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(stage)
	// All versions are built from the same copy, even if the sources change in the
	// meantime.
	b := builder{stage: stage, sources: filepath.Join(stage, "sources"), archives: map[string]dist.Archived{}}
	paths, err := sources(ctx, checkout)
	if err != nil {
		return "", err
	}
	if err := copyFiles(checkout, paths, b.sources); err != nil {
		return "", err
	}
	digest, err := key(b.sources, paths)
	if err != nil {
		return "", err
	}
	kept := filepath.Join(cache, "versions-"+digest)
	result := filepath.Join(kept, "updates")
	if _, err := os.Stat(result); err == nil {
		now := time.Now()
		return result, os.Chtimes(kept, now, now)
	}
	fmt.Fprintf(say, "lab: building %d versions for updates\n", len(versions.All))
	fresh := filepath.Join(stage, "kept")
	b.out = filepath.Join(fresh, "updates")
	if err := b.build(ctx, paths); err != nil {
		return "", err
	}
	// Another process may have built the same in the meantime.
	if err := os.Rename(fresh, kept); err != nil {
		if _, there := os.Stat(result); there != nil {
			return "", err
		}
	}
	return result, nil
}

// oldAge is how long versions of other sources are kept: another checkout may use them.
const oldAge = 12 * time.Hour

func removeOld(cache string) error {
	found, err := filepath.Glob(filepath.Join(cache, "*versions-*"))
	for _, path := range found {
		if info, statErr := os.Stat(path); statErr == nil && time.Since(info.ModTime()) > oldAge {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// builder builds one result.
type builder struct {
	stage, sources, out string
	root                []byte
	archives            map[string]dist.Archived // by version
}

func (b *builder) build(ctx context.Context, paths []string) error {
	keys := filepath.Join(b.stage, "keys")
	var err error
	if b.root, err = newKeys(keys); err != nil {
		return err
	}
	for _, v := range versions.All {
		if err := b.version(ctx, v, paths); err != nil {
			return err
		}
	}
	return b.publish(keys)
}

// newKeys makes the keys of a repository and returns its root.
func newKeys(dir string) ([]byte, error) {
	if err := repository.Create(dir, 3, 2, validity, time.Now()); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, repository.RootFile))
}

// version builds a version and packs it.
func (b *builder) version(ctx context.Context, v versions.Version, paths []string) error {
	dir := filepath.Join(b.stage, "edited")
	if err := copyFiles(b.sources, paths, dir); err != nil {
		return err
	}
	if err := apply(v, dir); err != nil {
		return err
	}
	programs := filepath.Join(b.stage, "programs", v.Name)
	if v.Installed {
		programs = filepath.Join(b.out, "programs", v.Name)
	}
	c := dist.Compilation{Source: dir, Out: programs, Arch: runtime.GOARCH, Programs: release.Programs, Flags: flags(v, b.root)}
	if err := c.Run(ctx); err != nil {
		return fmt.Errorf("cannot build version %s: %w", v.Name, err)
	}
	if err := b.pack(v, programs); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func flags(v versions.Version, root []byte) string {
	const x = " -X banger/internal/buildinfo."
	return "-s -w -buildid=" + x + "version=" + v.Name + x + "commit=" + commit(v) +
		x + "updateRoot=" + base64.StdEncoding.EncodeToString(root) + x + "updateRepository=" + versions.URL
}

// commit is one for the looks.
func commit(v versions.Version) string {
	sum := sha256.Sum256([]byte(v.Name))
	return hex.EncodeToString(sum[:6])
}

func (b *builder) pack(v versions.Version, programs string) error {
	var files []dist.File
	for _, name := range release.Programs {
		data, err := os.ReadFile(filepath.Join(programs, name))
		if err != nil {
			return err
		}
		files = append(files, dist.File{Name: name, Mode: 0o755, Data: data})
	}
	data, err := dist.Archive(files, builtAt)
	b.archives[v.Name] = dist.Archived{Data: data, Info: release.Info{
		Version: v.Name, Commit: commit(v), BuiltAt: builtAt, Platform: "linux/" + runtime.GOARCH,
	}}
	return err
}
