// Package blockdev makes the block devices of VMs' disks in system mode, by ioctl: loop
// devices (loop(4)) and device-mapper snapshots
// (Documentation/admin-guide/device-mapper/snapshot.rst) over them. It needs
// CAP_SYS_ADMIN, Linux 5.8 (for LOOP_CONFIGURE), and stores no state: it asks the
// kernel which devices exist.
//
// A snapshot of VM <id> is the device-mapper device banger-<id> over two loop devices.
// The one over the base is read-only and shared by all VMs with this base; its name for
// losetup(8) is banger-base. The one over the VM's own copy-on-write file is named
// banger-<id>. Both are "autoclear": the kernel unbinds them with their last user.
// While a snapshot is made, that user is a descriptor of this process, then it is the
// device-mapper. So a crash at any point leaves no loop device; at most it leaves a
// device-mapper device without a table, which Attach makes again, Detach removes and
// List lists.
//
// A plain disk of VM <id> is one loop device over the VM's own file, named banger-<id>.
// Only the VMM holds it, so it is not autoclear.
//
// Nodes in /dev are those of devtmpfs, /dev/dm-N and /dev/loopN. Links made by udev,
// including /dev/mapper/…, are never used: they appear late or not at all.
package blockdev

// Device is a block device of the host.
type Device struct {
	Name         string // as in /sys/block
	Major, Minor uint32
}

// Path returns the path of the device's node in devtmpfs.
func (d Device) Path() string { return "/dev/" + d.Name }
