// Package paths defines the paths of all of banger's files.
package paths

import (
	"cmp"
	"os"
	"path/filepath"

	"banger/api"
)

// Paths holds the directories of one installation. Everything that must survive a
// log-out, including the sockets of running VMs, is below Data: the runtime directory
// of a login session is removed when the session ends.
type Paths struct {
	Data   string // VMs, images, kernels, the store, sockets
	Cache  string // what can be downloaded again
	Config string // config.toml
	Run    string // the daemon's socket; empty: Data
	// Managed: systemd runs the daemon; clients do not start one.
	Managed bool
}

// The paths of system mode that are not in Paths. Files that only root may change are
// in separate directories from those of the owner.
const (
	SystemConfig  = "/etc/banger"
	InstallRecord = SystemConfig + "/install.toml" // the owner, and the installed version
	systemState   = "/var/lib/banger"              // root's; Data is the owner's
	RootRun       = "/run/banger-root"             // root's, readable
	RootSocket    = RootRun + "/helper.sock"       // the root helper's socket, only for the owner
	Jails         = systemState + "/jails"         // root's: a directory per running VM
	BootFiles     = systemState + "/boot"          // root's: kernels and initramfs, by digest
	Programs      = "/usr/local/lib/banger"        // versions/VERSION and the link "current"
	Commands      = "/usr/local/bin"

	Firecracker        = Programs + "/firecracker" // versions/VERSION and the link "current"
	FirecrackerCurrent = Firecracker + "/current"  // contains the programs firecracker and jailer
)

// ProgramDirs are root's usual directories of programs, in search order.
var ProgramDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"}

// System returns the paths of system mode.
func System() Paths {
	return Paths{Data: systemState + "/data", Cache: "/var/cache/banger", Config: SystemConfig, Run: "/run/banger", Managed: true}
}

// User returns the paths of the current user: below $BANGER_HOME if it is set,
// otherwise in the directories of the XDG base directory specification.
func User() (Paths, error) {
	if home := os.Getenv("BANGER_HOME"); home != "" {
		abs, err := filepath.Abs(home)
		if err != nil {
			return Paths{}, api.Errorf(api.KindInvalid, "cannot resolve BANGER_HOME %q: %w", home, err)
		}
		return Paths{Data: filepath.Join(abs, "data"), Cache: filepath.Join(abs, "cache"), Config: abs}, nil
	}
	home, err := os.UserHomeDir()
	if err != nil && (os.Getenv("XDG_DATA_HOME") == "" || os.Getenv("XDG_CACHE_HOME") == "" || os.Getenv("XDG_CONFIG_HOME") == "") {
		return Paths{}, api.Errorf(api.KindInvalid, "cannot find your home directory: %w", err).
			WithHint("set HOME, or BANGER_HOME to a directory for banger alone")
	}
	xdg := func(variable, fallback string) string {
		return filepath.Join(cmp.Or(os.Getenv(variable), filepath.Join(home, fallback)), "banger")
	}
	return Paths{
		Data:   xdg("XDG_DATA_HOME", ".local/share"),
		Cache:  xdg("XDG_CACHE_HOME", ".cache"),
		Config: xdg("XDG_CONFIG_HOME", ".config"),
	}, nil
}

// ConfigFile is the path of the user's configuration.
func (p Paths) ConfigFile() string { return filepath.Join(p.Config, "config.toml") }

// Socket is the path of the daemon's socket. It may be longer than a socket address
// allows: dial and listen through fsx.
func (p Paths) Socket() string { return filepath.Join(cmp.Or(p.Run, p.Data), "bangerd.sock") }

// Lock is the path of the lock that the running daemon holds.
func (p Paths) Lock() string { return filepath.Join(p.Data, "bangerd.lock") }

// StartLock is the path of the lock that a CLI holds while it starts the daemon.
func (p Paths) StartLock() string { return filepath.Join(p.Data, "start.lock") }

// DaemonLog is the path of the daemon's log.
func (p Paths) DaemonLog() string { return filepath.Join(p.Data, "bangerd.log") }

// Store is the path of the database.
func (p Paths) Store() string { return filepath.Join(p.Data, "banger.db") }

// VMs is the directory of the VMs' directories.
func (p Paths) VMs() string { return filepath.Join(p.Data, "vms") }

// Snapshots is the directory of the snapshots of VMs.
func (p Paths) Snapshots() string { return filepath.Join(p.Data, "snapshots") }

// VM is the directory of one VM.
func (p Paths) VM(id string) string { return filepath.Join(p.VMs(), id) }

// Update is the directory of the updates' state. In system mode it belongs to root.
func (p Paths) Update() string {
	if p.Managed {
		return systemState + "/update"
	}
	return filepath.Join(p.Data, "update")
}

// Hold is the path of the file that exists while an update is being proven.
func (p Paths) Hold() string {
	if p.Managed {
		return RootRun + "/update-hold"
	}
	return filepath.Join(p.Update(), "hold")
}

// Images is the directory of the image cache.
func (p Paths) Images() string { return filepath.Join(p.Data, "images") }

// Kernels is the directory of the kernel cache.
func (p Paths) Kernels() string { return filepath.Join(p.Data, "kernels") }

// Staging is the directory of unfinished images and kernels, on the file system of
// their destination. The daemon empties it when it starts.
func (p Paths) Staging() string { return filepath.Join(p.Data, "staging") }

// Workspaces is the directory of what `banger up` remembers of work trees, one for each.
func (p Paths) Workspaces() string { return filepath.Join(p.Data, "workspaces") }

// Apt is the directory of package lists and archives downloaded for this user.
func (p Paths) Apt() string { return filepath.Join(p.Cache, "apt") }

// Blobs is the directory of the compressed layers of images, by their SHA-256 digest.
func (p Paths) Blobs() string { return filepath.Join(p.Cache, "blobs", "sha256") }

// Features is the directory of the archives of dev container features, which the command line gets.
func (p Paths) Features() string { return filepath.Join(p.Cache, "features") }

// Probe is the path of the cached result of probing this host's KVM.
func (p Paths) Probe() string { return filepath.Join(p.Cache, "probe.json") }

// BootDigests is the path of the cached digests of boot files.
func (p Paths) BootDigests() string { return filepath.Join(p.Cache, "boot-digests.json") }

// The files in a VM's directory.
const (
	VMDisk        = "disk"         // raw or qcow2
	VMConsole     = "console.log"  // the log of the guest's serial console
	VMAgentSocket = "agent.sock"   // the guest agent's channel
	VMQMPSocket   = "qmp.sock"     // QEMU's monitor
	VMHandles     = "handles.json" // the kernel's objects of the VM; can be rebuilt
	VMLog         = "vmm.log"      // the VMM's own log
	VMHostKey     = "ssh_host_ed25519_key"
	VMPortsSocket = "ports.sock" // the control socket of the forwarder of its published ports
	VMPortsLog    = "ports.log"  // the forwarder's log
	VMSaved       = "saved"      // the directory with the memory of a suspended VM
)
