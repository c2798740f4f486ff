package model

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"banger/internal/host/execx"
)

// mountsEnv is set in a process that has its mounts for itself.
const mountsEnv = "BANGER_MODEL_MOUNTS"

// smallSize has room for what all VMs of a model take, and for an image on its way.
const smallSize = "160m"

// ownMounts runs this program again with mounts of its own, which end with it and which
// nobody else sees. It returns at once, with false, if that is so already, or if only root
// could do that.
func ownMounts() (status int, ran bool) {
	if os.Geteuid() != 0 || os.Getenv(mountsEnv) != "" {
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), mountsEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit):
		return max(1, exit.ExitCode()), true
	case errors.Is(err, syscall.EPERM): // root of a container, perhaps
		return 0, false
	}
	fmt.Fprintln(os.Stderr, "cannot have mounts of our own:", err)
	return 1, true
}

// smallDisk makes a directory, and mounts a small file system there if it can.
func smallDisk(dir string) (mounted bool, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil || os.Getenv(mountsEnv) == "" {
		return false, err
	}
	err = syscall.Mount("banger-model", dir, "tmpfs", 0, "mode=0700,size="+smallSize)
	if errors.Is(err, syscall.EPERM) {
		return false, nil
	}
	return err == nil, err
}

// unmount unmounts a small disk. The last processes to use it may have ended without having let
// go of all their files yet.
func unmount(dir string) error {
	for end := time.Now().Add(settleTime); ; time.Sleep(20 * time.Millisecond) {
		if err := syscall.Unmount(dir, 0); !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}

// copyHome copies a home, which may be on another file system, without its holes.
func copyHome(ctx context.Context, from, to string) error {
	return execx.Run(ctx, execx.Cmd{Name: "cp", Args: []string{"-a", "--sparse=always", from + "/.", to}})
}
