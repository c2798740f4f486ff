package qemu

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/driver/qemu/migration"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/guestnet"
	"banger/internal/paths"
)

// Files holds the numbers of the descriptors that QEMU inherits.
type Files struct {
	QMP   int // listening socket of the monitor
	Agent int // listening socket of the agent's channel
	// Console is the log of the serial console, open for appending; SystemArgs only.
	Console int
}

// sandbox is QEMU's own seccomp filter (qemu(1), -sandbox).
const sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// tcgCache is the size in MiB of the cache for translated code. QEMU's default
// is up to 1 GiB, which a long-running guest can fill. When the cache is full, QEMU
// empties it and translates again. The number is a choice, not measured.
const tcgCache = 256

// Args returns the arguments of QEMU, without the program's name, for a
// machine. Files in the VM's directory have fixed names.
func Args(s driver.Spec, accel string, files Files) []string {
	args := machineArgs(accel)
	args = append(args, "-name", nameArg(s.ID), "-chardev", consoleArg(s.Dir))
	args = append(args, bootArgs(s)...)
	return append(args, deviceArgs(s, files)...)
}

// deviceArgs return the arguments for the devices.
func deviceArgs(s driver.Spec, files Files) []string {
	args := append(channelArgs(files), diskArgs(s, "file")...)
	if s.NoNetwork {
		return args
	}
	return append(args, networkArgs(s.Isolated)...)
}

// RestoreArgs returns the arguments of a QEMU that continues a saved machine, whose memory is the file
// ram: those of Args, without what the guest has booted from long since. The memory is mapped privately, so
// the file does not change. The machine stands still (-S), and its state is loaded by the monitor.
// -incoming comes early, as what isRestored looks at.
func RestoreArgs(s driver.Spec, accel string, files Files, ram string) []string {
	args := append(machineArgs(accel), "-S", "-incoming", "defer")
	args = append(args, "-name", nameArg(s.ID), "-chardev", consoleArg(s.Dir))
	args = append(args, sizeArgs(s)...)
	args = append(args,
		"-object", fmt.Sprintf("memory-backend-file,id=%[1]s,size=%[2]dB,share=off,mem-path=%[3]s", migration.MemoryBlock, s.MemoryBytes, escape(ram)),
		"-machine", "memory-backend="+migration.MemoryBlock)
	return append(args, deviceArgs(s, files)...)
}

// isRestored reports whether a command line is one of RestoreArgs.
func isRestored(args []string) bool { return optionIs(args, "-incoming", "defer") }

// sizeArgs return the arguments for the machine's size.
func sizeArgs(s driver.Spec) []string {
	return []string{"-smp", strconv.Itoa(s.VCPUs), "-m", fmt.Sprintf("size=%dB", s.MemoryBytes)}
}

// bootArgs return the arguments for the machine's size and what it boots.
func bootArgs(s driver.Spec) []string {
	return append(sizeArgs(s),
		"-kernel", s.Kernel,
		"-initrd", s.Initramfs,
		"-append", strings.TrimSpace("console=ttyS0 "+s.Cmdline),
	)
}

// channelArgs connect the serial console, the monitor and the agent's channel.
func channelArgs(files Files) []string {
	return []string{
		"-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", files.QMP),
		"-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d,server=on,wait=off", files.Agent),
		"-device", "virtio-serial-device,max_ports=2",
		"-device", "virtserialport,chardev=agent,name=" + agentproto.PortName,
	}
}

// machineArgs returns the arguments that a probe's machine has, too. The PIT, PIC, RTC and ACPI
// of microvm stay enabled: without them Debian's cloud kernel hangs or is slower, and it finds
// virtio devices only through ACPI.
func machineArgs(accel string) []string {
	if accel == KVM {
		return append(baseArgs(), "-accel", "kvm", "-cpu", "host")
	}
	return append(baseArgs(), tcgArgs("multi")...)
}

// countedArgs emulate a machine whose clock advances by 32 ns an instruction, not with the host's
// (qemu(1), -icount). A guest with a clock of its own cannot be too slow for its timer: on a busy
// emulated host the handler of a tick takes longer than a tick, and a guest with the host's clock
// does nothing else then. It costs half the speed again.
func countedArgs() []string {
	return append(append(baseArgs(), tcgArgs("single")...), "-icount", "shift=5,sleep=off")
}

func tcgArgs(thread string) []string {
	return []string{"-accel", fmt.Sprintf("tcg,thread=%s,tb-size=%d", thread, tcgCache), "-cpu", "max"}
}

func baseArgs() []string {
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-sandbox", sandbox,
		"-machine", "microvm,dump-guest-core=off",
		"-global", "virtio-mmio.force-legacy=false",
	}
}

// diskArgs attach the disk. The host's page cache is used; a flush by the guest is an fdatasync
// on the host (cache.no-flush=off), so synced data is safe. Blocks that the guest discards are
// freed on the host.
const diskNode = "disk" // what the monitor calls the disk

func diskArgs(s driver.Spec, protocol string) []string {
	file := "driver=" + protocol + ",node-name=file,filename=" + escape(s.Disk) +
		",aio=threads,discard=unmap,cache.direct=off,cache.no-flush=off"
	format := "driver=raw,node-name=" + diskNode + ",file=file,discard=unmap"
	if s.DiskFormat == disk.Qcow2 {
		format = "driver=qcow2,node-name=" + diskNode + ",file=file,discard=unmap"
	}
	return []string{
		"-blockdev", file,
		"-blockdev", format,
		"-device", "virtio-blk-device,drive=" + diskNode,
	}
}

// networkArgs connect the guest to QEMU's user network, which needs no privileges. IPv6 is off:
// it would offer a route even if the host has none. In an isolated network the guest reaches
// neither the host nor anything through it (qemu(1), restrict); the agent needs no network.
func networkArgs(isolated bool) []string {
	user := fmt.Sprintf("user,id=net,ipv6=off,net=%s,host=%s,dns=%s,dhcpstart=%s", guestnet.Address.Masked(), guestnet.Gateway, guestnet.DNS, guestnet.Address.Addr())
	if isolated {
		user += ",restrict=on"
	}
	return []string{
		"-netdev", user,
		"-device", "virtio-net-device,netdev=net,mac=" + guestnet.MAC,
	}
}

// nameArg and consoleArg are in every machine's command line, and prove which VM a process runs.
// They come early because of proc.MaxCmdline.
func nameArg(id string) string { return "guest=banger-" + id + ",process=banger-" + id }

func consoleArg(dir string) string {
	return "file,id=console,append=on,path=" + escape(filepath.Join(dir, paths.VMConsole))
}

// escape escapes a value of a comma-separated option: a comma is doubled (qemu(1), -drive).
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// belongsTo returns a function that reports whether a command line is that of the VM's QEMU.
func belongsTo(id, dir string) func(args []string) bool {
	return func(args []string) bool {
		return len(args) > 0 && optionIs(args, "-name", nameArg(id)) && optionIs(args, "-chardev", consoleArg(dir))
	}
}

func optionIs(args []string, option, value string) bool {
	for i := 1; i+1 < len(args); i++ {
		if args[i] == option && args[i+1] == value {
			return true
		}
	}
	return false
}

// accelOf returns the accelerator in a command line of Args, or "" if it is unknown. QEMU can
// change its own command line.
func accelOf(args []string) string {
	for i := 1; i+1 < len(args); i++ {
		if args[i] != "-accel" {
			continue
		}
		if accel, _, _ := strings.Cut(args[i+1], ","); accel == KVM || accel == TCG {
			return accel
		}
	}
	return ""
}
