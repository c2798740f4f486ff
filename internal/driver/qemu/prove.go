package qemu

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/guest/agentproto"
	"banger/internal/host/execx"
)

// provePatience bounds how long a guest may take to mount its disk. An emulated one takes 3 s on
// an idle machine, and 170 s on an emulated host that is busy; so what counts is whether it
// continues. The agent waits half a minute for the disk.
var provePatience = patience{firstByte: 90 * time.Second, pause: 3 * time.Minute, total: 15 * time.Minute}

// allMessages makes the kernel write what it does, although its command line has "quiet"
// (admin-guide/kernel-parameters.rst): that shows that it continues, or where it hangs.
const allMessages = " loglevel=7"

// proveBytes is the size of that disk: the smallest for which mke2fs creates a journal.
const proveBytes = "8M"

// Prove boots a kernel with an agent that mounts an ext4 disk, and returns why that failed, or
// "" if it succeeded. An error of kind api.KindUnsupported means that QEMU, or the program that
// creates the disk, is missing.
func (d *Driver) Prove(ctx context.Context, kernel, initramfs string) (reason string, err error) {
	path, err := execx.LookPath(d.opts.Binary, debianPackage)
	if err != nil {
		return "", err
	}
	found, err := d.Probe(ctx, "", "") // only what is cached: this kernel must not decide whether KVM works
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(filepath.Dir(initramfs), "trial-*")
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot create a disk: %w", err)
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "disk")
	err = execx.Run(ctx, execx.Cmd{Name: "mke2fs", Args: []string{"-q", "-F", "-t", "ext4", image, proveBytes}, Package: "e2fsprogs"})
	if err != nil {
		return "", err
	}
	mount, err := agentproto.Boot{Probe: true, Root: "/dev/vda"}.Cmdline()
	if err != nil {
		return "", err
	}
	cmdline := "console=ttyS0 " + agentproto.BaseCmdline + allMessages + " " + mount
	machine := machineArgs(found.Accel)
	if found.Accel == TCG {
		cmdline = d.Clock() + cmdline
		machine = countedArgs()
	}
	args := probeArgs(machine, kernel, initramfs, cmdline)
	args = append(args, diskArgs(driver.Spec{Disk: image, DiskFormat: disk.Raw}, "file")...)
	reason, said, err := probeBoot(ctx, path, args, provePatience)
	if reason != "" && said != "" {
		reason += "; its last output: " + said
	}
	return reason, err
}
