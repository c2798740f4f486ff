package qemu

import (
	"fmt"

	"banger/internal/driver"
	"banger/internal/guest/guestnet"
)

// SystemArgs returns the arguments of a QEMU in system mode, without the program's
// name. In contrast to user mode, the console is a descriptor, because its file belongs to
// another user, and the network is the VM's own tap. The process has its program's name, which
// proves its identity.
func SystemArgs(s driver.Spec, accel string, files Files) []string {
	args := machineArgs(accel)
	args = append(args, "-name", "guest=banger-"+s.ID)
	args = append(args, bootArgs(s)...)
	args = append(args,
		"-add-fd", fmt.Sprintf("fd=%d,set=1,opaque=console", files.Console),
		"-chardev", "file,id=console,append=on,path=/dev/fdset/1",
	)
	args = append(args, channelArgs(files)...)
	args = append(args, diskArgs(s, "host_device")...)
	if s.NoNetwork {
		return args
	}
	// The namespace has the tap, whose owner is the VM's user.
	return append(args,
		"-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no",
		"-device", "virtio-net-device,netdev=net,mac="+guestnet.MAC)
}
