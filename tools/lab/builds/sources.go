package builds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"banger/internal/host/execx"
	"banger/test/lab/versions"
)

// parts are what programs are made of, and what else decides on the result: how
// releases are made, this package and what it makes.
var parts = []string{"go.mod", "go.sum", "api", "client", "cmd", "internal", "tools/go.mod", "tools/go.sum", "tools/release", "tools/lab/builds", "test/lab/versions"}

// sources lists these files, including uncommitted ones.
func sources(ctx context.Context, repository string) ([]string, error) {
	var out bytes.Buffer
	args := append([]string{"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"}, parts...)
	if err := execx.Run(ctx, execx.Cmd{Name: "git", Package: "git", Args: args, Dir: repository, Stdout: &out}); err != nil {
		return nil, fmt.Errorf("cannot list the sources: %w", err)
	}
	var paths []string
	for _, path := range strings.Split(strings.TrimSuffix(out.String(), "\x00"), "\x00") {
		if !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "/testdata/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// key is the digest of files of the repository, and of what else affects the result.
func key(repository string, paths []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH)
	for _, path := range paths {
		data, err := os.ReadFile(filepath.Join(repository, path))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not yet committed
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", path, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// copyFiles copies the existing files of a list.
func copyFiles(from string, paths []string, to string) error {
	for _, path := range paths {
		data, err := os.ReadFile(filepath.Join(from, path))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = write(filepath.Join(to, path), data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply makes the edits of a version in a copy of the sources.
func apply(v versions.Version, dir string) error {
	for _, e := range v.Edits {
		if err := applyEdit(e, filepath.Join(dir, e.Path)); err != nil {
			return fmt.Errorf("cannot make version %s: %s: %w", v.Name, e.Path, err)
		}
	}
	return nil
}

func applyEdit(e versions.Edit, path string) error {
	data, err := os.ReadFile(path)
	switch {
	case e.Old == "" && errors.Is(err, os.ErrNotExist):
		return write(path, []byte(e.New))
	case e.Old == "" && err == nil:
		return errors.New("the file exists already")
	case err != nil:
		return err
	}
	if n := bytes.Count(data, []byte(e.Old)); n != 1 {
		return fmt.Errorf("%q occurs in it %d times, not once", e.Old, n)
	}
	return write(path, bytes.Replace(data, []byte(e.Old), []byte(e.New), 1))
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
