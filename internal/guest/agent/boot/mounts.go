package bootup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const newRoot = "/newroot"

// writable is how a root disk is mounted that can be written.
const writable = "ext4"

// mount is one file system of the kernel.
type mount struct {
	kind, target string
	flags        uintptr
	data         string
	older        string // replaces data for kernels that refuse it
}

// The options are those of systemd's mount-setup.c, which images expect.
func kernelFS() []mount {
	return []mount{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV, "", ""},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV, "", ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755", ""},
	}
}

// guestFS are mounted once the root is.
func guestFS() []mount {
	return []mount{
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666", ""},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777", ""},
		{"tmpfs", runDir, unix.MS_NOSUID | unix.MS_NODEV, "mode=0755", ""},
		// memory_recursiveprot is of Linux 5.7.
		{"cgroup2", "/sys/fs/cgroup", unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV, "nsdelegate,memory_recursiveprot", "nsdelegate"},
	}
}

func mountKernelFS() error {
	for _, m := range kernelFS() {
		if err := m.mount(); err != nil {
			return err
		}
	}
	return nil
}

func (m mount) mount() error {
	err := unix.Mount(m.kind, m.target, m.kind, m.flags, m.data)
	if err == unix.EINVAL && m.older != "" {
		err = unix.Mount(m.kind, m.target, m.kind, m.flags, m.older)
	}
	if err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
	}
	return nil
}

// mountRoot mounts the root disk, and returns "ro" if the disk cannot be written.
func mountRoot(device string) (string, error) {
	err := unix.Mount(device, newRoot, "ext4", unix.MS_RELATIME, "")
	if err == nil {
		return writable, nil
	}
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		if unix.Mount(device, newRoot, "ext4", unix.MS_RDONLY, "") == nil {
			return "ext4, read-only", nil
		}
	}
	return "", fmt.Errorf("mount %s as ext4: %w", device, err)
}

// switchRoot makes the mounted disk the root directory: the kernel's file
// systems move along, the initramfs is emptied, which frees its memory
// (Documentation/filesystems/ramfs-rootfs-initramfs.rst).
func switchRoot() error {
	for _, m := range kernelFS() {
		target := filepath.Join(newRoot, m.target)
		if err := makeDir(target); err != nil {
			return err
		}
		if err := unix.Mount(m.target, target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s into the root disk: %w", m.target, err)
		}
	}
	if err := errors.Join(os.Remove("/init"), os.RemoveAll("/modules")); err != nil {
		say("free the initramfs: %v", err)
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("make the root disk the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change the root directory: %w", err)
	}
	return os.Chdir("/")
}

// mountGuestFS mounts the file systems that programs expect. A failure does not stop the boot. If
// the agent stays init, /run begins with the image's content; an image's own init expects it
// empty (file-hierarchy(7)).
func mountGuestFS(agentIsInit bool) []error {
	var errs []error
	for _, m := range guestFS() {
		err := makeDir(m.target)
		switch {
		case err != nil:
		case m.target == runDir && agentIsInit:
			err = mountRun(m, stagedRun)
		default:
			err = m.mount()
		}
		errs = append(errs, err)
	}
	errs = append(errs, makeTemp("/tmp"))
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil && !errors.Is(err, os.ErrExist) {
			errs = append(errs, err)
		}
	}
	return errs
}

// makeDir creates a mount point that the image lacks.
func makeDir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make mount point: %w", err)
	}
	return nil
}

func makeTemp(path string) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(path, 0o777|os.ModeSticky)
	}
	return err
}
