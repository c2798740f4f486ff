package bootup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// loadModules loads the modules of dir in the order of their names, which is the order of their
// dependencies, except those for the other channel to the host.
func loadModules(dir string, vsock bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !needed(e.Name(), vsock) {
			continue
		}
		if err := loadModule(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("load kernel module %s: %w", e.Name(), err)
		}
	}
	return nil
}

// needed reports whether a machine needs a module, by its file's name: exactly the modules that
// only vsock needs have "vsock" in their names.
func needed(name string, vsock bool) bool {
	if strings.Contains(name, "vsock") {
		return vsock
	}
	return !vsock || !strings.Contains(name, "virtio_console")
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	// ENODEV is a driver's error if its hardware is missing, such as a processor with certain
	// instructions: another driver is used instead. Programs that need it report their own error.
	if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// modprobe is the program that the kernel runs to load a module (CONFIG_MODPROBE_PATH).
const modprobe = "/sbin/modprobe"

// libModules is the directory in which modprobe searches for modules.
const libModules = "/lib/modules"

// takeModules returns the modules that the initramfs has for programs in the guest, or nil if it
// has none. They stay in memory and are mounted from there: they belong to the running kernel,
// whatever kernel the disk was made with.
func takeModules() (*os.File, error) {
	dirs, err := filepath.Glob(libModules + "/*")
	if err != nil || len(dirs) != 1 {
		return nil, err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, dirs[0], unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("take the kernel's modules along: %w", err)
	}
	return os.NewFile(uintptr(fd), dirs[0]), nil
}

// mountModules mounts the modules of takeModules in the root, unless the image has modules of
// this kernel, or no program to load any: services that look for modules would find some, and
// fail because the program is missing.
func mountModules(tree *os.File) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	dir := filepath.Join(libModules, unix.ByteSliceToString(name.Release[:]))
	if exists(filepath.Join(dir, "modules.dep")) || !exists(modprobe) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount the kernel's modules: %w", err)
	}
	return nil
}
