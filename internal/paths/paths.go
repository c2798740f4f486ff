// Package paths is the one place that knows where banger keeps things.
package paths

import (
	"cmp"
	"os"
	"path/filepath"

	"banger/api"
)

// Paths names the directories of one installation. Everything that must
// outlive a log-out, sockets of running VMs included, is below Data: the
// runtime directory of a login session is wiped when the session ends.
type Paths struct {
	Data   string // VMs, images, kernels, the store, sockets
	Cache  string // what can be fetched again
	Config string // config.toml
	Run    string // the daemon's socket; empty: Data
	// Managed: systemd runs the daemon, and no client starts one.
	Managed bool
}

// What system mode uses, beside Paths. What only root may change is apart from
// what the owner may change.
const (
	SystemConfig  = "/etc/banger"
	InstallRecord = SystemConfig + "/install.toml" // who the owner is, and what is installed
	systemState   = "/var/lib/banger"              // root's; Data is the owner's
	RootRun       = "/run/banger-root"             // root's, readable
	RootSocket    = RootRun + "/helper.sock"       // the root helper listens here, for the owner alone
	Jails         = systemState + "/jails"         // root's: a directory per running VM
	BootFiles     = systemState + "/boot"          // root's: kernels and initramfs, by digest
	Programs      = "/usr/local/lib/banger"        // versions/VERSION and the link "current"
	Commands      = "/usr/local/bin"

	Firecracker        = Programs + "/firecracker" // versions/VERSION and the link "current"
	FirecrackerCurrent = Firecracker + "/current"  // has the programs firecracker and jailer
)

// ProgramDirs are root's usual directories for programs, the first first.
var ProgramDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"}

// System returns the paths of system mode.
func System() Paths {
	return Paths{Data: systemState + "/data", Cache: "/var/cache/banger", Config: SystemConfig, Run: "/run/banger", Managed: true}
}

// User returns the paths of the current user: below $BANGER_HOME where that is
// set, else in the directories of the XDG base directory specification.
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

// ConfigFile is the user's configuration.
func (p Paths) ConfigFile() string { return filepath.Join(p.Config, "config.toml") }

// Socket is where the daemon listens. Its path may be longer than a socket
// address allows: dial and listen through fsx.
func (p Paths) Socket() string { return filepath.Join(cmp.Or(p.Run, p.Data), "bangerd.sock") }

// Lock is held by the running daemon.
func (p Paths) Lock() string { return filepath.Join(p.Data, "bangerd.lock") }

// StartLock is held by a CLI while it starts the daemon.
func (p Paths) StartLock() string { return filepath.Join(p.Data, "start.lock") }

// DaemonLog is the daemon's log.
func (p Paths) DaemonLog() string { return filepath.Join(p.Data, "bangerd.log") }

// Store is the database.
func (p Paths) Store() string { return filepath.Join(p.Data, "banger.db") }

// VMs holds a directory per VM.
func (p Paths) VMs() string { return filepath.Join(p.Data, "vms") }

// VM is the directory of one VM.
func (p Paths) VM(id string) string { return filepath.Join(p.VMs(), id) }

// Update holds what an update of banger has to remember. In system mode it is
// root's.
func (p Paths) Update() string {
	if p.Managed {
		return systemState + "/update"
	}
	return filepath.Join(p.Data, "update")
}

// Hold is there while an update is being proven, for the daemon to see.
func (p Paths) Hold() string {
	if p.Managed {
		return RootRun + "/update-hold"
	}
	return filepath.Join(p.Update(), "hold")
}

// Images holds the image cache.
func (p Paths) Images() string { return filepath.Join(p.Data, "images") }

// Kernels holds the kernel cache.
func (p Paths) Kernels() string { return filepath.Join(p.Data, "kernels") }

// Staging holds half-made images and kernels, on the file system where they
// will end up. Emptied at every start of the daemon.
func (p Paths) Staging() string { return filepath.Join(p.Data, "staging") }

// Apt holds package lists and archives fetched for this user.
func (p Paths) Apt() string { return filepath.Join(p.Cache, "apt") }

// Blobs holds what registries have served, by its SHA-256 digest: the compressed
// layers of images.
func (p Paths) Blobs() string { return filepath.Join(p.Cache, "blobs", "sha256") }

// Probe caches what this host's KVM was found to be able to do.
func (p Paths) Probe() string { return filepath.Join(p.Cache, "probe.json") }

// BootDigests caches the digests of what VMs boot from.
func (p Paths) BootDigests() string { return filepath.Join(p.Cache, "boot-digests.json") }

// The files in a VM's directory.
const (
	VMDisk        = "disk"         // raw or qcow2
	VMConsole     = "console.log"  // what the guest's serial console said
	VMAgentSocket = "agent.sock"   // the guest agent's channel
	VMQMPSocket   = "qmp.sock"     // QEMU's monitor
	VMHandles     = "handles.json" // what the kernel holds for the VM; can be rebuilt
	VMLog         = "vmm.log"      // what the VMM itself said
	VMHostKey     = "ssh_host_ed25519_key"
	VMPortsSocket = "ports.sock" // the forwarder of its published ports is told what to do here
	VMPortsLog    = "ports.log"  // what that said
)
