package roothelper

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/fsx"
	"banger/internal/vmid"
)

// A VM's jail is JAILS/ID/PROGRAM/ID/root: the layout is the jailer's
// (docs/jailer.md of Firecracker), with a base directory for each VM. All but the
// root belong to root; the root, once the VMM runs, belongs to the VM's user and is
// the VMM's to fill. So nothing in it is trusted, and nothing is opened through it
// but with openat2(2).

// The files in a jail's root.
const (
	jailConfig    = "config.json"
	jailKernel    = "vmlinux"
	jailInitramfs = "initramfs"
	jailDisk      = "disk"
	jailAPI       = "api.sock"
	jailVsock     = "v.sock"      // Firecracker's vsock
	jailDoorbell  = "v.sock_1025" // where the agent's doorbell arrives: the port is in the name
	jailAgent     = "agent.sock"  // QEMU's channel to the agent
)

// jail is one VM's.
type jail struct {
	base    string // JAILS/ID
	program string // file name of the VMM's program
	root    string
}

func (h *Helper) jailBase(id string) string { return filepath.Join(h.Dirs.Jails, id) }

func (h *Helper) jailFor(id, program string) jail {
	base := h.jailBase(id)
	return jail{base: base, program: program, root: filepath.Join(base, program, id, "root")}
}

// findJail returns the jail that a VM has. Its directories above the root can be
// changed by root alone.
func (h *Helper) findJail(id string) (j jail, found bool) {
	entries, err := os.ReadDir(h.jailBase(id))
	if err != nil || len(entries) != 1 {
		return jail{}, false
	}
	return h.jailFor(id, entries[0].Name()), true
}

// makeJail makes an empty jail, in the place of an older one.
func (h *Helper) makeJail(id, program string) (jail, error) {
	if err := h.removeJail(id); err != nil {
		return jail{}, err
	}
	j := h.jailFor(id, program)
	if err := os.MkdirAll(j.root, 0o755); err != nil {
		return jail{}, fsx.DiskError("make the jail", err)
	}
	// The VM's user passes through; nobody lists.
	for dir := j.root; dir != h.Dirs.Jails; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			return jail{}, err
		}
	}
	return j, nil
}

// removeJail removes a VM's jail and the short name of its socket. RemoveAll
// follows no symbolic link, and the VM's user has no process any more.
func (h *Helper) removeJail(id string) error {
	err := os.RemoveAll(h.jailBase(id))
	if rm := os.Remove(h.shortSocket(id)); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot remove the jail of VM %s: %w", id, err)
	}
	return nil
}

// shortSocket is a symbolic link to the VMM's API socket: the path of the socket
// itself is near the limit of a socket address (unix(7)).
func (h *Helper) shortSocket(id string) string { return filepath.Join(h.Dirs.Run, id+".sock") }

// fill puts what a VMM boots from into a jail.
func (h *Helper) fill(j jail, id, kernel, initramfs string, uid int) error {
	for name, digest := range map[string]string{jailKernel: kernel, jailInitramfs: initramfs} {
		err := os.Link(filepath.Join(h.Dirs.Boot, digest), filepath.Join(j.root, name))
		if errors.Is(err, fs.ErrNotExist) {
			return api.Errorf(api.KindNotFound, "no boot file %s is kept", digest)
		}
		if err != nil {
			return fsx.DiskError("fill the jail", err)
		}
	}
	return h.diskNode(j, id, uid)
}

// diskNode makes the device node of the VM's disk in the jail.
func (h *Helper) diskNode(j jail, id string, uid int) error {
	d, found, err := h.Blocks.Lookup(id)
	if err != nil {
		return err
	}
	if !found {
		return api.Errorf(api.KindConflict, "VM %s has no block device: it is attached before a start", id)
	}
	path := filepath.Join(j.root, jailDisk)
	if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(d.Major, d.Minor))); err != nil {
		return fsx.DiskError("make the disk's node", err)
	}
	return os.Lchown(path, uid, uid)
}

// openRoot opens the root of a VM's jail.
func (h *Helper) openRoot(j jail) (*os.File, error) {
	rel, err := filepath.Rel(h.Dirs.Jails, j.root)
	if err != nil {
		return nil, err
	}
	base, err := os.Open(h.Dirs.Jails)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	return openBeneath(base, rel, unix.O_PATH|unix.O_DIRECTORY)
}

// openBeneath opens a name below a directory, through no symbolic link and no
// "..", whoever can write there.
func openBeneath(dir *os.File, name string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// jails lists the ids of VMs that have a jail.
func (h *Helper) jails() ([]string, error) {
	entries, err := os.ReadDir(h.Dirs.Jails)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, e := range entries {
		if vmid.Valid(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, err
}
