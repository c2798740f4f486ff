// Package blockdev makes the block devices that VMs of system mode have as
// disks, by ioctl: loop devices (loop(4)) and device-mapper snapshots
// (Documentation/admin-guide/device-mapper/snapshot.rst) over them. It needs
// CAP_SYS_ADMIN, Linux 5.8 (for LOOP_CONFIGURE), and remembers nothing: what
// there is, it asks the kernel.
//
// A snapshot of VM <id> is the device-mapper device banger-<id> over two loop
// devices. That over the base is read-only and shared by all VMs with this
// base; its name for losetup(8) is banger-base. That over the VM's own
// copy-on-write file is named banger-<id>. Both are "autoclear": the kernel
// unbinds them with their last user. While a snapshot is made that user is a
// descriptor of this process, then it is the device-mapper. So a crash at any
// point leaves no loop device; at most a device-mapper device without a table,
// which Attach makes anew, Detach removes and List shows.
//
// A plain disk of VM <id> is one loop device over the VM's own file, named
// banger-<id>. Nothing but the VMM holds it, so it is not autoclear.
//
// Nodes in /dev are those of devtmpfs, /dev/dm-N and /dev/loopN. Links made by
// udev, /dev/mapper/… among them, are never used: they come late or not at all.
package blockdev

// Device is a block device of the host.
type Device struct {
	Name         string // as in /sys/block
	Major, Minor uint32
}

// Path is where devtmpfs has the device's node.
func (d Device) Path() string { return "/dev/" + d.Name }
