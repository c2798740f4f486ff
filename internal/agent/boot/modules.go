package bootup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// loadModules loads the modules of dir in the order of their names, which is
// that of their dependencies. Those for the other channel to the host are left.
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

// needed tells whether a machine has a use for a module, by its file's name: all
// the modules that vsock needs and nothing else does have it in their names.
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
	// ENODEV is how a driver says that there is nothing for it here, such as a processor
	// with certain instructions: another has come or comes. What needs it fails by itself.
	if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// modprobe is what the kernel runs to load a module (CONFIG_MODPROBE_PATH).
const modprobe = "/sbin/modprobe"

// libModules is where modprobe looks for modules.
const libModules = "/lib/modules"

// takeModules takes the modules that the initramfs has for programs in the guest:
// nil where it has none. They stay where they are, in memory, and are mounted from
// there: they belong to the kernel that runs, whatever the disk was made with.
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

// mountModules mounts what takeModules took into the root, unless the image has
// modules of this very kernel, or nothing to load any with: services that look for
// modules would find some, and fail for want of a program.
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
