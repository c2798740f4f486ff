package disktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/disk"
)

// fullName is the first argument of the test's process that fills a disk.
const fullName = "banger-test-full-disk"

// Main returns at once, unless this process was started by FullDisk: then it
// tests d on a small file system of its own and exits. A TestMain calls it first.
func Main(d disk.Driver) {
	if len(os.Args) != 2 || os.Args[0] != fullName {
		return
	}
	if err := fullDisk(d, os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// FullDisk tests Create on a full file system: a real one, in namespaces that end with the
// process that made them.
func FullDisk(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args = []string{fullName, t.TempDir()}
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("NOT TESTED: a full disk, because this host allows no user namespaces: %v", err)
	}
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
}

func fullDisk(d disk.Driver, dir string) error {
	const size = 1 << 20
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	base, path := filepath.Join(dir, "base"), filepath.Join(dir, "disk")
	if err := os.WriteFile(base, make([]byte, size/2), 0o600); err != nil {
		return err
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		return err
	}
	defer ballast.Close()
	for err == nil {
		_, err = ballast.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("filling the disk: %w", err)
	}
	spec := disk.Spec{Base: base, Path: path}
	if err := d.Create(context.Background(), spec); api.KindOf(err) != api.KindNoSpace || api.AsError(err).Hint == "" {
		return fmt.Errorf("creating on a full disk gives %w", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("something is left: %w", err)
	}
	if err := ballast.Truncate(0); err != nil {
		return err
	}
	small := filepath.Join(dir, "small")
	if err := os.WriteFile(small, make([]byte, 64<<10), 0o600); err != nil {
		return err
	}
	return d.Create(context.Background(), disk.Spec{Base: small, Path: path})
}
