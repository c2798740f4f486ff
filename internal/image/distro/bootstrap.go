package distro

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/host/userns"
	"banger/internal/image/rootfs"
)

// jobBootstrap is the name of this package's job.
const jobBootstrap = "image-bootstrap"

// Jobs returns this package's jobs by their names, for userns.Main.
func Jobs() map[string]userns.Job { return map[string]userns.Job{jobBootstrap: runBootstrap} }

// Bootstrap fills the directory root with packages of sources, which apt gets with
// options. name is that of the image. The directory that root is in holds files for apt.
func Bootstrap(ctx context.Context, root, name string, sources []apt.Source, options []string, report api.Report) error {
	list, conf := filepath.Join(filepath.Dir(root), name+".sources"), filepath.Join(filepath.Dir(root), "apt.conf")
	// In a user namespace apt's own user may not enter banger's directories.
	options = append(options, `APT::Sandbox::User "root";`)
	for file, text := range map[string]string{list: apt.Deb822(sources), conf: strings.Join(options, "\n") + "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return fsx.DiskError("build image", err)
		}
	}
	args := []string{root, name, suite(sources), list, conf}
	_, err := rootfs.Run(ctx, report, userns.Call{Job: jobBootstrap, Args: append(args, keyrings(sources)...)})
	return err
}

// suite returns the name of the release among suites such as bookworm-updates.
func suite(sources []apt.Source) string {
	shortest := ""
	for _, s := range sources {
		if shortest == "" || len(s.Suite) < len(shortest) {
			shortest = s.Suite
		}
	}
	return shortest
}

// keyrings returns the files with the keys that sources are signed by.
func keyrings(sources []apt.Source) []string {
	var files []string
	for _, s := range sources {
		for _, word := range strings.FieldsFunc(s.SignedBy, func(r rune) bool { return r == ',' || r == ' ' }) {
			if filepath.IsAbs(word) && !slices.Contains(files, word) {
				files = append(files, word)
			}
		}
	}
	return files
}

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
			"--include=" + strings.Join(packagesOf(name), ","), suite, root, list,
		},
	})
	if err != nil {
		return err
	}
	if err := rootfs.Enter(root); err != nil {
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
