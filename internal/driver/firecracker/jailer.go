package firecracker

import (
	"path/filepath"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/vmid"
)

// netnsDir is the directory of named network namespaces (ip-netns(8)).
const netnsDir = "/run/netns"

// Jail holds the properties in which the jails of VMs differ.
type Jail struct {
	ID       string // of the VM
	Exec     string // path of the Firecracker program
	UID, GID int    // the VM's own
}

// Root returns the jail's root directory, which the jailer creates and enters:
// DIRECTORY/PROGRAM/ID/root (its docs/jailer.md).
func (j Jail) Root() string {
	return filepath.Join(paths.Jails, filepath.Base(j.Exec), j.ID, "root")
}

// JailerArgs returns the jailer's arguments, without its name. Jailers from 1.0 on accept them.
// Without --daemonize and --new-pid-ns the jailer executes Firecracker in its own process.
//
// With --cgroup-version 2 and no --cgroup, newer jailers move the process into
// --parent-cgroup if that exists, which by default is the program's name: other
// programs may have created a cgroup "firecracker". So the argument is the cgroup into which
// systemd has put the process.
//
// Firecracker's own log goes to standard output, like the guest's console: it is limited to
// errors.
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
		return api.Errorf(api.KindInvalid, "cannot jail a VM: %q is not a VM's id", j.ID)
	case j.UID <= 0 || j.GID <= 0:
		return api.Errorf(api.KindInvalid, "cannot jail VM %s: uid %d and gid %d are not its own", j.ID, j.UID, j.GID)
	case !filepath.IsAbs(j.Exec) || filepath.Clean(j.Exec) != j.Exec:
		return api.Errorf(api.KindInvalid, "cannot jail VM %s: %q is not a clean absolute path", j.ID, j.Exec)
	case !strings.Contains(filepath.Base(j.Exec), "firecracker"): // jailers before 1.13 require it
		return api.Errorf(api.KindInvalid, "cannot jail VM %s: the name of the program %s does not contain \"firecracker\"", j.ID, j.Exec).
			WithHint("give the program its usual name: firecracker")
	}
	return nil
}
