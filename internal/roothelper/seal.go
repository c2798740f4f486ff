package roothelper

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/roothelper/removetree"
)

// Firecracker's jailer gives the jail's directories to the VM's user, because Firecracker
// binds two sockets there. Once those exist neither VMM creates files any more, so root takes
// the directories back: a VMM that a guest took over cannot fill the host's disk, replace its
// sockets, or make a jail that is hard to remove. The remaining window is some milliseconds
// in which the guest has hardly begun to boot.

// lastSocket returns the socket that a VMM binds last: afterwards it creates nothing in the
// jail. Firecracker binds its API's socket (src/firecracker/src/api_server_adapter.rs), then
// the vsock's, as it reads the configuration.
func lastSocket(j jail) string {
	if j.program == qemuProgram {
		return qemuMonitor
	}
	return firecracker.VsockSocket
}

// A jailer creates /, /dev, /dev/net and /run, with four nodes, a copy of the program and a
// file with its pid. If there is far more, the VMM created it.
const (
	jailDepth   = 4
	jailEntries = 64
)

// seal gives the directories and files of a jail to root. It is idempotent.
func (h *Helper) seal(j jail) error {
	root, err := h.openRoot(j)
	if err != nil {
		return err
	}
	defer root.Close()
	left := jailEntries
	if err := sealDir(root, ".", jailDepth, &left); err != nil {
		return api.Errorf(api.KindInternal, "cannot take the jail of VM %s back from its VMM: %w", filepath.Base(j.dir), err)
	}
	return nil
}

// sealServing seals the jail of a VMM that was found and serves its sockets: the helper that
// started it was of an older version, or was ended before it could seal the jail.
func (h *Helper) sealServing(j jail) error {
	var st unix.Stat_t
	if err := unix.Lstat(j.root, &st); err != nil || st.Uid == 0 {
		return err
	}
	if err := unix.Lstat(filepath.Join(j.root, lastSocket(j)), &st); err != nil {
		return nil // not serving yet: it may be about to bind the socket
	}
	return h.seal(j)
}

// sealDir seals a directory. The directory belongs to root before its names are read, so they
// cannot change during that.
func sealDir(parent *os.File, name string, depth int, left *int) error {
	if depth == 0 {
		return errors.New("it is deeper than a jailer creates")
	}
	dir, err := removetree.OpenDir(int(parent.Fd()), name)
	if err != nil {
		return err
	}
	defer dir.Close()
	// The VMM opens /dev/kvm about now. So the mode that lets it through comes before the new
	// owner; and once more after it, because until then the VMM could have changed it.
	if err := errors.Join(dir.Chmod(0o711), dir.Chown(0, 0), dir.Chmod(0o711)); err != nil {
		return err
	}
	names, err := dir.Readdirnames(*left + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if *left -= len(names); *left < 0 {
		return errors.New("it has more entries than a jailer creates")
	}
	for _, name := range names {
		if err := sealEntry(dir, name, depth, left); err != nil {
			return err
		}
	}
	return nil
}

// sealEntry seals entries that hold data. Nodes and sockets hold none, and the VMM may open
// them.
func sealEntry(dir *os.File, name string, depth int, left *int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "look at", Path: name, Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return sealDir(dir, name, depth-1, left)
	case unix.S_IFREG:
		if st.Uid != 0 {
			if err := unix.Fchownat(int(dir.Fd()), name, 0, 0, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return &os.PathError{Op: "chown", Path: name, Err: err}
			}
		}
	}
	return nil
}
