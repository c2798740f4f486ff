package firecracker

import (
	"encoding/json"
	"fmt"

	"banger/api"
	"banger/internal/guest/guestnet"
)

// The names of the files in a jail's root directory for Firecracker. None of them depends on
// the host or the VM, so that a snapshot can be restored in another jail.
const (
	KernelFile    = "vmlinux"
	InitramfsFile = "initramfs"
	DiskFile      = "disk"
	ConfigFile    = "config.json"
	APISocket     = "api.sock"
	VsockSocket   = "v.sock"
	ReadySocket   = "v.sock_1025" // VsockSocket, "_" and ReadyPort: Firecracker's docs/vsock.md
)

// The constant properties of every machine.
const (
	TapName  = "tap0" // in the VM's own network namespace
	GuestCID = 3      // the first that is not reserved, vsock(7)
)

// The ports of vsock; package agentproto has them for the agent.
const (
	AgentPort = 1024 // of the guest, where the agent listens
	ReadyPort = 1025 // of the host, where the agent connects once it listens
)

// The limits of a machine.
const (
	MaxVCPUs     = 32      // Firecracker's MAX_SUPPORTED_VCPUS
	MaxMemoryMiB = 1 << 24 // 16 TiB: more than hosts have, less than overflows in bytes
	// maxCmdline is the size that the kernel reads of its command line (COMMAND_LINE_SIZE,
	// arch/x86/include/asm/setup.h) without the final NUL, which is also Firecracker's
	// CMDLINE_MAX_SIZE; banger's arguments are a part of it.
	maxCmdline = 2048 - 1 - ownCmdline
	// ownCmdline is reserved for Firecracker's additions: " pci=off", and up to 40 bytes of
	// virtio_mmio.device= for each of three devices.
	ownCmdline = 256
)

// The machine's part of the kernel command line surrounds the guest's: of two arguments with
// the same name the later one applies. Of Firecracker's own arguments
// (docs/kernel-policy.md), "nomodule" would disable the guest's devices, "8250.nr_uarts=0"
// its console, and "panic=1" would wait a second.
//
//   - console=ttyS0: the kernel and the agent write to the console log.
//   - swiotlb=noforce: no memory is reserved for devices that cannot address all of it.
//   - reboot=k: a reset by the keyboard controller ends Firecracker with success. For
//     Firecracker the triple fault that QEMU's guests use is an error of KVM
//     (src/vmm/src/vstate/vcpu.rs).
//   - banger.vsock=1: agentproto.VsockArg.
const (
	argsBefore = "console=ttyS0 swiotlb=noforce "
	argsAfter  = " reboot=k banger.vsock=1"
)

// Spec holds the properties in which machines differ.
type Spec struct {
	VCPUs     int
	MemoryMiB int
	Cmdline   string // the guest's part of the kernel command line
	Network   bool   // whether to connect it to TapName
}

// Config returns the content of the file with which Firecracker boots the machine (its option
// --config-file). The file cannot limit the size of the serial console; the owner of the log
// does.
func Config(s Spec) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	c := config{
		BootSource: bootSource{
			Kernel: "/" + KernelFile, Initrd: "/" + InitramfsFile, Args: argsBefore + s.Cmdline + argsAfter,
		},
		// With Writeback a flush by the guest is an fsync on the host, so synced data is safe;
		// the default, Unsafe, ignores flushes. Sync is the engine that does not need io_uring,
		// which many hosts forbid. The disk is not the "root device": that would only add root=
		// for a kernel without initramfs.
		Drives:   []drive{{ID: "root", Path: "/" + DiskFile, CacheType: "Writeback", Engine: "Sync"}},
		Machine:  machine{VCPUs: s.VCPUs, MemoryMiB: s.MemoryMiB},
		Networks: []network{},
		Vsock:    vsock{CID: GuestCID, Path: "/" + VsockSocket},
	}
	if s.Network {
		c.Networks = append(c.Networks, network{ID: "eth0", Device: TapName, MAC: guestnet.MAC})
	}
	data, err := json.MarshalIndent(c, "", "  ")
	return append(data, '\n'), err
}

// check refuses values that Firecracker would refuse or interpret differently.
func (s Spec) check() error {
	var wrong string
	switch full := len(argsBefore) + len(s.Cmdline) + len(argsAfter); {
	case s.VCPUs < 1 || s.VCPUs > MaxVCPUs:
		wrong = fmt.Sprintf("%d vCPUs are not 1 to %d", s.VCPUs, MaxVCPUs)
	case s.MemoryMiB < 1 || s.MemoryMiB > MaxMemoryMiB:
		wrong = fmt.Sprintf("%d MiB of memory are not 1 to %d", s.MemoryMiB, MaxMemoryMiB)
	case full > maxCmdline:
		wrong = fmt.Sprintf("a kernel command line of %d bytes is longer than %d", full, maxCmdline)
	case !printable(s.Cmdline):
		wrong = fmt.Sprintf("the kernel command line %q contains characters other than printable ASCII", s.Cmdline)
	default:
		return nil
	}
	return api.Errorf(api.KindInvalid, "cannot configure Firecracker: %s", wrong)
}

func printable(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// The format of Firecracker's configuration file is that of its API
// (src/firecracker/swagger/firecracker.yaml); 1.8 and all later versions read this.
type config struct {
	BootSource bootSource `json:"boot-source"`
	Drives     []drive    `json:"drives"`
	Machine    machine    `json:"machine-config"`
	Networks   []network  `json:"network-interfaces"`
	Vsock      vsock      `json:"vsock"`
}

type bootSource struct {
	Kernel string `json:"kernel_image_path"`
	Initrd string `json:"initrd_path"`
	Args   string `json:"boot_args"`
}

type drive struct {
	ID        string `json:"drive_id"`
	Path      string `json:"path_on_host"`
	Root      bool   `json:"is_root_device"`
	ReadOnly  bool   `json:"is_read_only"`
	CacheType string `json:"cache_type"`
	Engine    string `json:"io_engine"`
}

type machine struct {
	VCPUs     int  `json:"vcpu_count"`
	MemoryMiB int  `json:"mem_size_mib"`
	SMT       bool `json:"smt"`
}

type network struct {
	ID     string `json:"iface_id"`
	Device string `json:"host_dev_name"`
	MAC    string `json:"guest_mac"`
}

type vsock struct {
	CID  int    `json:"guest_cid"`
	Path string `json:"uds_path"`
}
