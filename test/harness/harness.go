// Package harness prepares what tests and benchmarks of the real programs
// share: a directory that is kept between runs, the agent's binary, a kernel,
// and a tiny root file system with nothing but busybox in it.
package harness

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"banger/internal/host/execx"
	"banger/internal/host/fsx"
)

// Cache returns the directory that is kept between test runs: BANGER_TEST_CACHE,
// or one below the repository for each user, since one user's caches are closed
// to another. In somebody else's checkout it is in the user's own cache.
func Cache() (string, error) {
	if dir := os.Getenv("BANGER_TEST_CACHE"); dir != "" {
		return dir, os.MkdirAll(dir, 0o700)
	}
	root, err := Repository()
	if err != nil {
		return "", err
	}
	shared := filepath.Join(root, ".cache")
	if os.Mkdir(shared, 0o777) == nil {
		// As /tmp: every user makes a directory of one's own in it.
		if err := os.Chmod(shared, 0o777|os.ModeSticky); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(shared, "test-"+strconv.Itoa(os.Getuid()))
	err = os.MkdirAll(dir, 0o700)
	if errors.Is(err, fs.ErrPermission) {
		own, homeless := os.UserCacheDir()
		if homeless != nil {
			return "", errors.Join(err, homeless)
		}
		dir = filepath.Join(own, "banger-test")
		err = os.MkdirAll(dir, 0o700)
	}
	return dir, err
}

// Repository returns the root of the checkout that the test or tool runs in, also from
// the module of its tools.
func Repository() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "banger").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find the repository: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Build compiles one of the programs below cmd into dir and returns its path.
func Build(ctx context.Context, dir, program string) (string, error) {
	return BuildVersion(ctx, dir, program, "")
}

// BuildVersion is Build of a program that says it is of a version, as a release is.
func BuildVersion(ctx context.Context, dir, program, version string) (string, error) {
	return build(ctx, dir, "cmd/"+program, "-X banger/internal/buildinfo.version="+version)
}

// BuildAt is Build of a program of this repository that is elsewhere, such as test/e2e/echoserver.
func BuildAt(ctx context.Context, dir, where string) (string, error) {
	return build(ctx, dir, where, "")
}

func build(ctx context.Context, dir, where, flags string) (string, error) {
	program := filepath.Base(where)
	path := filepath.Join(dir, program)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w "+flags, "-o", path, "banger/"+where)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w\n%s", program, err, out)
	}
	return path, nil
}

// applets are the names under which the tiny root file system has busybox.
var applets = []string{"sh", "cat", "echo", "ls", "sleep", "true", "false", "head", "tail", "wc", "sha256sum", "dd",
	"id", "hostname", "ip", "ping", "nslookup", "wget", "nc", "stty", "kill", "ps", "mkdir", "rm", "touch", "stat",
	"uname", "seq", "sync", "df", "mount", "grep", "yes", "env", "pwd", "test", "readlink", "ln", "chmod", "free", "tty", "date", "poweroff", "reboot", "tr", "cut", "printf", "sort", "find", "cmp", "md5sum", "tar"}

// BusyboxTar writes a root file system with nothing but busybox in it to path.
func BusyboxTar(path string) error {
	busybox, err := execx.LookPath("busybox", "busybox-static")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755})
	if err == nil {
		err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))})
	}
	if err == nil {
		_, err = w.Write(program)
	}
	for _, name := range applets {
		if err == nil {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777})
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return err
	}
	return fsx.WriteFile(path, b.Bytes(), 0o644)
}
