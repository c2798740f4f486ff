package roothelper

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/rootapi"
	"banger/internal/roothelper/removetree"
	"banger/internal/vmid"
)

// A VM's jail is JAILS/PROGRAM/ID/root: the layout is the jailer's (docs/jailer.md
// of Firecracker). All but the root belong to root; the root belongs to the VM's user
// while Firecracker starts (seal.go). So nothing in it is trusted, and files in it are
// opened only with openat2(2). The group of the directory above the root is the VM's: it
// records the VM's user id.

// The files in a QEMU's jail. Package firecracker names those in Firecracker's.
const (
	qemuProgram = "qemu"
	qemuAgent   = "agent.sock" // the channel to the agent
	qemuMonitor = "api.sock"   // QEMU's monitor
)

// jail is a VM's jail.
type jail struct {
	program string // file name of the VMM's program
	dir     string // JAILS/PROGRAM/ID
	root    string
}

func (h *Helper) jailFor(id, program string) jail {
	dir := filepath.Join(h.Dirs.Jails, program, id)
	return jail{program: program, dir: dir, root: filepath.Join(dir, "root")}
}

// findJail returns the jail that a VM has.
func (h *Helper) findJail(id string) (j jail, found bool, err error) {
	programs, err := os.ReadDir(h.Dirs.Jails)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return jail{}, false, err
	}
	for _, p := range programs {
		j := h.jailFor(id, p.Name())
		if info, err := os.Lstat(j.dir); err == nil && info.IsDir() {
			return j, true, nil
		}
	}
	return jail{}, false, nil
}

// uid returns the VM's user id, which the jail records.
func (j jail) uid() (uint32, error) {
	var st unix.Stat_t
	err := unix.Lstat(j.dir, &st)
	return st.Gid, err
}

// makeJail creates an empty jail, and removes an older one first.
func (h *Helper) makeJail(ctx context.Context, id, program string, uid int) (jail, error) {
	if err := h.removeJail(ctx, id); err != nil {
		return jail{}, err
	}
	h.jailing.Lock()
	defer h.jailing.Unlock()
	if err := h.mustBeUnused(uid); err != nil {
		return jail{}, err
	}
	j := h.jailFor(id, program)
	if err := os.MkdirAll(j.root, 0o711); err != nil {
		return jail{}, diskError("make the jail", err)
	}
	// The VM's user may pass through; nobody may list it.
	for _, dir := range []string{j.root, j.dir, filepath.Dir(j.dir), h.Dirs.Jails} {
		if err := os.Chmod(dir, 0o711); err != nil {
			return jail{}, err
		}
	}
	return j, os.Lchown(j.dir, 0, uid)
}

// mustBeUnused refuses a user id that another VM has: each could do to the other what it can
// do to itself.
func (h *Helper) mustBeUnused(uid int) error {
	ids, err := h.jails()
	for _, id := range ids {
		j, found, findErr := h.findJail(id)
		err = errors.Join(err, findErr)
		if !found {
			continue
		}
		if other, err := j.uid(); err == nil && int(other) == uid {
			return api.Errorf(api.KindConflict, "user id %d belongs to VM %s", uid, id).WithHint("banger doctor --leaks")
		}
	}
	return err
}

// removeJail removes a VM's jail and the short name of its socket. The VM's user must have no
// process any more.
func (h *Helper) removeJail(ctx context.Context, id string) error {
	err := os.Remove(h.shortSocket(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for {
		j, found, findErr := h.findJail(id)
		if err = errors.Join(err, findErr); !found || err != nil {
			break
		}
		err = removetree.Remove(ctx, j.dir)
	}
	if err != nil {
		return removalError(id, err)
	}
	return nil
}

// removalError returns the error of a removal, with the kind and the hint of err.
func removalError(id string, err error) error {
	e := api.AsError(err)
	return api.Errorf(e.Kind, "cannot remove the jail of VM %s: %w", id, err).WithHint("%s", e.Hint)
}

// shortSocket is a symbolic link to the VMM's API socket: the path of the socket
// itself is near the limit of a socket address (unix(7)).
func (h *Helper) shortSocket(id string) string { return filepath.Join(h.Dirs.Run, id+".sock") }

// fill links the files that a VMM boots from into a jail.
func (h *Helper) fill(j jail, c rootapi.VMStartCall, uid int) error {
	for name, digest := range map[string]string{firecracker.KernelFile: c.Kernel, firecracker.InitramfsFile: c.Initramfs} {
		err := os.Link(filepath.Join(h.Dirs.Boot, digest), filepath.Join(j.root, name))
		if errors.Is(err, fs.ErrNotExist) {
			return api.Errorf(api.KindNotFound, "no boot file %s is stored", digest)
		}
		if err != nil {
			return diskError("fill the jail", err)
		}
	}
	return h.diskNode(j, c.ID, uid)
}

// diskNode creates the device node of the VM's disk in the jail.
func (h *Helper) diskNode(j jail, id string, uid int) error {
	d, found, err := h.Blocks.Lookup(id)
	if err != nil {
		return err
	}
	if !found {
		return api.Errorf(api.KindConflict, "VM %s has no block device: attach it before the start", id)
	}
	path := filepath.Join(j.root, firecracker.DiskFile)
	if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(d.Major, d.Minor))); err != nil {
		return diskError("make the disk's node", err)
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

// openBeneath opens a name below a directory without following symbolic links or "..",
// because others may be able to write there.
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
	dirs, err := filepath.Glob(filepath.Join(h.Dirs.Jails, "*", "*"))
	var ids []string
	for _, dir := range dirs {
		if id := filepath.Base(dir); vmid.Valid(id) {
			ids = append(ids, id)
		}
	}
	return ids, err
}
