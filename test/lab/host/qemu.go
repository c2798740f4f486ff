package host

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"

	"banger/internal/host/tsc"
)

// ports is how many programs can run commands in the lab at the same time: QEMU gives
// each port to one client.
const ports = 4

// cmdline is the lab's kernel command line: a short boot, warnings on the console, and
// a lab that panics ends. The frequency of the time stamp counter is given: a busy
// machine's emulated timer cannot measure it, and the boot would hang (package tsc).
// Nested guests do not use AMD's virtual interrupt flag: with it, an emulated processor
// stays in a guest for ever, and interrupts do not reach it (docs/adr/0013).
func cmdline() string {
	line := "console=ttyS0 loglevel=5 panic=-1 reboot=t mitigations=off systemd.show_status=0 random.trust_cpu=on kvm_amd.vgif=0 kvm_amd.nested=0"
	if khz := tsc.KHz(); khz != 0 && strings.HasPrefix(accel(), "tcg") {
		line += fmt.Sprintf(" tsc_early_khz=%d tsc=reliable no_timer_check", khz)
	}
	return line
}

// accel is the value of QEMU's -accel.
func accel() string { return cmp.Or(os.Getenv("BANGER_LAB_ACCEL"), "tcg,thread=multi") }

// firstFile is the descriptor of the first port's listening socket in QEMU.
const firstFile = 3

// arguments are QEMU's arguments; QEMU runs in the lab's directory.
//
// The lab has no network interface to the outside, so nothing can leave it; the
// "internet" is inside (tools/lab/agent). `-cpu max` emulates AMD's SVM with nested
// paging, so that kvm_amd loads.
func arguments(image Image, o Options) []string {
	args := []string{
		"-name", "banger-lab", "-no-user-config", "-nodefaults", "-display", "none",
		"-accel", accel(), "-cpu", "max",
		// QEMU's microvm cannot reset: it ends, and is started again.
		"-no-reboot", "-M", "microvm,acpi=on", "-m", strconv.Itoa(o.MemoryMiB), "-smp", strconv.Itoa(o.CPUs),
		"-kernel", image.kernel(), "-initrd", image.initrd(), "-append", cmdline(),
		"-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console",
		"-drive", "if=none,id=root,format=qcow2,file=root.qcow2", "-device", "virtio-blk-device,drive=root",
		"-drive", "if=none,id=payload,format=raw,readonly=on,file=payload.ext4", "-device", "virtio-blk-device,drive=payload",
		"-device", fmt.Sprintf("virtio-serial-device,max_ports=%d", ports+1), // port 0 is a console's
	}
	for i := range ports {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=port%d,fd=%d,server=on,wait=off", i, firstFile+i),
			"-device", fmt.Sprintf("virtserialport,chardev=port%d,name=lab.%d", i, i))
	}
	return args
}

func portFile(i int) string { return "port" + strconv.Itoa(i) }

// quoted formats a command line for people.
func quoted(args []string) string { return strings.Join(args, " ") }
