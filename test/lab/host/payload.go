package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/test/harness"
)

// The payload is a separate disk, mounted read-only at /lab: the lab's agent, the build
// to test and its dependencies. So the cached image contains nothing of a run, and the
// lab downloads nothing.
//
//	/lab/bin          lab-agent; firecracker and jailer of PATH if Options names no pairs
//	/lab/pairs/NAME   firecracker and jailer of a pair in Options
//	/lab/build        the programs of the build: banger, bangerd, …
//	/lab/busybox.tar  the smallest guest's root file system
//	/lab/extra        the files of Options.Extra

// foreign are programs that the lab copies from this machine if they exist.
var foreign = []string{"firecracker", "jailer"}

// payload makes the payload's file system at path.
func payload(ctx context.Context, path string, o Options) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), "payload-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := fillPayload(ctx, dir, o); err != nil {
		return fmt.Errorf("cannot prepare the lab's payload: %w", err)
	}
	size := fsx.Usage(dir)*5/4 + 32<<20
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return execx.Run(ctx, execx.Cmd{Name: "mke2fs", Package: "e2fsprogs", Args: []string{
		"-q", "-t", "ext4", "-L", "lab", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", dir, path, fmt.Sprintf("%dK", size>>10)}})
}

func fillPayload(ctx context.Context, dir string, o Options) error {
	for _, sub := range []string{"bin", "build", "extra"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	agent := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "bin", "lab-agent"), "banger/tools/lab/agent")
	agent.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := agent.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the lab's agent: %w\n%s", err, out)
	}
	if err := addFirecracker(dir, o); err != nil {
		return err
	}
	if err := harness.BusyboxTar(filepath.Join(dir, "busybox.tar")); err != nil {
		return err
	}
	if err := copyPrograms(o.Build, filepath.Join(dir, "build")); err != nil {
		return err
	}
	for _, path := range o.Extra {
		if err := copyAny(path, filepath.Join(dir, "extra", filepath.Base(path))); err != nil {
			return err
		}
	}
	return nil
}

// addFirecracker adds the named pairs, or the programs in PATH.
func addFirecracker(dir string, o Options) error {
	if o.NoFirecracker {
		return nil
	}
	for _, pair := range o.Pairs {
		if err := pair.copyTo(filepath.Join(dir, "pairs", pair.Name)); err != nil {
			return err
		}
	}
	if len(o.Pairs) > 0 {
		return nil
	}
	for _, name := range foreign {
		if program, err := exec.LookPath(name); err == nil {
			if err := copyFile(program, filepath.Join(dir, "bin", name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyAny copies a file, or a directory with its content.
func copyAny(from, to string) error {
	if info, err := os.Stat(from); err != nil || !info.IsDir() {
		return copyFile(from, to)
	}
	return os.CopyFS(to, os.DirFS(from))
}

// copyPrograms copies banger's programs from a directory, which need not exist.
func copyPrograms(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), "banger") {
			continue
		}
		if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm()|0o444)
}
