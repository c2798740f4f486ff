package firecracker

import (
	"path/filepath"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/vmid"
)

// netnsDir is where named network namespaces are, ip-netns(8).
const netnsDir = "/run/netns"

// Jail is what differs between the jails of VMs.
type Jail struct {
	ID       string // of the VM
	Exec     string // path of the Firecracker program
	UID, GID int    // the VM's own
}

// Root returns the jail's root directory, which the jailer makes and enters:
// DIRECTORY/PROGRAM/ID/root (its docs/jailer.md).
func (j Jail) Root() string {
	return filepath.Join(paths.Jails, filepath.Base(j.Exec), j.ID, "root")
}

// JailerArgs returns the jailer's arguments, without its name. It is what jailers
// from 1.0 on understand. Without --daemonize and --new-pid-ns Firecracker is the
// process that the jailer was.
//
// With --cgroup-version 2 and no --cgroup, newer jailers move the process into
// --parent-cgroup if that exists, which by default is the program's name: other
// programs may have made a cgroup "firecracker". So it is told to move to where
// systemd has put it.
//
// Firecracker's own log goes to standard output, as the guest's console does:
// only errors are worth a line there.
func JailerArgs(j Jail) ([]string, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	return []string{
		"--id", j.ID,
		"--exec-file", j.Exec,
		"--uid", strconv.Itoa(j.UID),
		"--gid", strconv.Itoa(j.GID),
		"--chroot-base-dir", paths.Jails,
		"--netns", filepath.Join(netnsDir, vmid.Netns(j.ID)),
		"--cgroup-version", "2",
		"--parent-cgroup", vmid.Slice + "/" + vmid.Unit(j.ID),
		"--",
		"--config-file", "/" + ConfigFile,
		"--api-sock", "/" + APISocket,
		"--level", "Error",
	}, nil
}

func (j Jail) check() error {
	switch {
	case !vmid.Valid(j.ID):
		return api.Errorf(api.KindInvalid, "cannot jail a VM: %q is no VM's id", j.ID)
	case j.UID <= 0 || j.GID <= 0:
		return api.Errorf(api.KindInvalid, "cannot jail VM %s: uid %d and gid %d are not its own", j.ID, j.UID, j.GID)
	case !filepath.IsAbs(j.Exec) || filepath.Clean(j.Exec) != j.Exec:
		return api.Errorf(api.KindInvalid, "cannot jail VM %s: %q is no clean absolute path", j.ID, j.Exec)
	case !strings.Contains(filepath.Base(j.Exec), "firecracker"): // jailers before 1.13 insist on it
		return api.Errorf(api.KindInvalid, "cannot jail VM %s: the program %s has no \"firecracker\" in its name", j.ID, j.Exec).
			WithHint("give the program its usual name: firecracker")
	}
	return nil
}
