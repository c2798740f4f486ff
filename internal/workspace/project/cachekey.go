package project

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"banger/api"
	"banger/internal/size"
)

// CacheKey names the result of the setup: whoever has the same key gets the same image. It is the
// SHA-256 of the image's digest, of the commands with what they are given, and of the content of
// the files that the key cache names. read returns the content of one; an fs.ErrNotExist is a
// content of its own.
func (c Config) CacheKey(imageDigest string, read func(name string) ([]byte, error)) (string, error) {
	d := newDigest("banger setup 1")
	d.add(imageDigest, c.User, c.Workdir, c.Init, c.Tools, c.Network)
	d.number(len(c.Setup))
	for _, command := range c.Setup {
		d.list(command)
	}
	d.number(len(c.Env))
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		d.add(name, c.Env[name])
	}
	for _, name := range slices.Sorted(slices.Values(c.Cache)) {
		data, err := read(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.add(name, "missing")
		case err != nil:
			return "", api.Errorf(api.KindInvalid, "cannot read %s, which cache in %s names: %w", name, Name, err)
		default:
			d.add(name, "content", string(data))
		}
	}
	return d.sum(), nil
}

// maxCacheFile bounds a file that cache names, in bytes: lock files of very large projects have a
// tenth of it.
const maxCacheFile = 64 * size.MiB

// CacheFiles reads files of a workspace for CacheKey.
func CacheFiles(top string) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) { return ReadFile(top, name, maxCacheFile) }
}
