package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"banger/internal/host/execx"
)

// runBootstrap builds a distribution's root file system. args are the directory, the
// distribution's name, the suite, the sources and settings for apt, and the keyrings
// that the sources are signed by.
func runBootstrap(ctx context.Context, args []string, emit func(any)) error {
	root, name, suite, list, conf := args[0], args[1], args[2], args[3], args[4]
	sources, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	keys := map[string][]byte{}
	for _, file := range args[5:] {
		if keys[file], err = os.ReadFile(file); err != nil {
			return err
		}
	}
	stages := &stages{emit: emit}
	err = execx.Run(ctx, execx.Cmd{
		Name: "mmdebstrap", Package: "mmdebstrap", Stderr: stages.line, Dir: filepath.Dir(root),
		Env: []string{"TMPDIR=" + filepath.Dir(root), "DEBIAN_FRONTEND=noninteractive"},
		Args: []string{
			"--mode=root", "--variant=minbase", "--format=directory", "--verbose", "--aptopt=" + conf,
			"--dpkgopt=force-unsafe-io", // a crash loses the staging directory anyway
			"--include=" + strings.Join(packages, ","), suite, root, list,
		},
	})
	if err != nil {
		return err
	}
	if err := enterTree(root); err != nil {
		return err
	}
	return finish(name, string(sources), keys)
}

// finish removes what the build left, in a tree that is this process's root directory,
// and adds the image's own files.
func finish(name, sources string, keys map[string][]byte) error {
	for _, pattern := range leftovers {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, file := range found {
			if err := os.RemoveAll(file); err != nil {
				return err
			}
		}
	}
	for file, text := range files(name, sources) {
		if err := replace(file, []byte(text)); err != nil {
			return err
		}
	}
	for file, data := range keys {
		if _, err := os.Stat(file); err == nil {
			continue // its package has installed it
		}
		if err := replace(file, data); err != nil {
			return err
		}
	}
	return nil
}

func replace(file string, data []byte) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
