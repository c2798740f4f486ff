package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// KernelLock is held by whoever fetches the distribution's kernel into Cache:
// tests of several packages do, at the same time.
const KernelLock = "kernel"

// Lock waits until no other process holds the named lock of Cache.
func Lock(name string) (unlock func(), err error) {
	cache, err := Cache()
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		lock.Close()
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// Once returns a directory below Cache that make has filled, once for each
// recipe on this machine. Several processes may ask at the same time.
func Once(name, recipe string, make func(dir string) error) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(recipe))
	dir := filepath.Join(cache, name+"-"+hex.EncodeToString(sum[:6]))
	unlock, err := Lock(name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// What an interrupted attempt left, and what older recipes made.
	old, err := filepath.Glob(filepath.Join(cache, name+"-*"))
	if err != nil {
		return "", err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return "", err
		}
	}
	staged := dir + ".new"
	if err := os.Mkdir(staged, 0o700); err != nil {
		return "", err
	}
	if err := make(staged); err != nil {
		return "", errors.Join(fmt.Errorf("cannot prepare %s: %w", name, err), os.RemoveAll(staged))
	}
	return dir, os.Rename(staged, dir)
}

// Sources is a digest of the Go files of some of this repository's packages:
// what they make is kept for as long as they stay the same.
func Sources(_ context.Context, packages ...string) (string, error) {
	root, err := Repository()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, p := range packages {
		files, err := filepath.Glob(filepath.Join(root, p, "*.go"))
		if err != nil {
			return "", err
		}
		slices.Sort(files)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s %x\n", filepath.Base(file), sha256.Sum256(data))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// CopyTree makes to a copy of from in which large files are shared (as cp -al
// has it): they are never written to. Small ones are copied.
func CopyTree(from, to string) error {
	const small = 64 << 10
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		if info.Size() > small {
			return os.Link(path, target)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
}
