package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

func programs() []Check {
	return append([]Check{
		{
			Name: "qemu", Run: qemu,
			Why: "every sandbox is a virtual machine that QEMU runs",
			Fix: "sudo apt-get install qemu-system-x86",
		},
		{
			Name: "kvm", Run: kvm,
			Why: "with KVM a sandbox runs at the speed of this machine; without, QEMU emulates the processor, several times slower",
			Fix: "sudo usermod -aG kvm $USER   (then log in again)",
		},
		{
			Name: "suspended VMs", Run: suspended,
			Why: "the memory of a suspended VM fits the QEMU and the processor that it was saved with, and no other",
			Fix: "install what they were suspended with again; or for each: banger vm start --cold NAME   boots it from its disk, and drops its memory",
		},
	}, packages()...)
}

// packages are the programs that make images and kernels.
func packages() []Check {
	return []Check{
		tools("e2fsprogs", "images are ext4 file systems", "mke2fs", "resize2fs"),
		tools("mmdebstrap", "builds the Debian image from packages; imported images work without it", "mmdebstrap"),
		{
			Name: "apt", Run: apt,
			Why: "the guest's kernel and image come from the distribution's packages",
			Fix: "use banger kernel import --host and banger image import FILE NAME",
		},
	}
}

func qemu(ctx context.Context, h Host) Finding {
	path, err := h.LookPath("qemu-system-x86_64")
	if err != nil {
		return fail("qemu-system-x86_64 is not installed")
	}
	if h.VMM == nil {
		return ok(path)
	}
	c, err := h.VMM(ctx)
	if err != nil {
		return fail(err.Error())
	}
	return ok(strings.TrimSpace("QEMU "+c.Version) + " at " + path)
}

func suspended(ctx context.Context, h Host) Finding {
	if h.Suspended == nil {
		return ok("not examined: the daemon does it")
	}
	fit, stranded := h.Suspended(ctx)
	switch {
	case len(stranded) > 0:
		return warn(strings.Join(stranded, "; "))
	case len(fit) > 0:
		return ok(fmt.Sprintf("%s can continue; start them before you upgrade QEMU", strings.Join(fit, ", ")))
	}
	return ok("none")
}

func kvm(ctx context.Context, h Host) Finding {
	switch err := h.OpenKVM(); {
	case errors.Is(err, fs.ErrNotExist):
		f := warn("/dev/kvm is missing: sandboxes are emulated")
		f.Fix = "turn on virtualization in the firmware (VT-x or AMD-V), or nested virtualization if this is a virtual machine; then: sudo modprobe kvm_intel || sudo modprobe kvm_amd"
		return f
	case errors.Is(err, fs.ErrPermission):
		return warn(fmt.Sprintf("user %s may not open /dev/kvm: sandboxes are emulated", h.User))
	case err != nil:
		f := warn("/dev/kvm cannot be opened: " + err.Error())
		f.Fix = "sudo dmesg | grep -i kvm"
		return f
	}
	if h.VMM == nil {
		return ok("/dev/kvm can be opened")
	}
	c, err := h.VMM(ctx)
	switch {
	case err != nil:
		return ok("/dev/kvm can be opened")
	case c.Accel == "kvm":
		return ok("guests boot with it")
	case c.Reason == "":
		return ok("/dev/kvm can be opened; the first sandbox shows whether guests boot with it")
	}
	f := warn(c.Reason)
	f.Fix = "no fix if this is a virtual machine without nested virtualization"
	return f
}

// tools checks for the programs of a package; the check is named after the package.
func tools(pkg, why string, names ...string) Check {
	return Check{
		Name: pkg, Why: why, Fix: "sudo apt-get install " + pkg,
		Run: func(_ context.Context, h Host) Finding {
			var missing []string
			for _, name := range names {
				if _, err := h.LookPath(name); err != nil {
					missing = append(missing, name)
				}
			}
			if len(missing) > 0 {
				return fail("not installed: " + strings.Join(missing, ", "))
			}
			return ok(strings.Join(names, ", "))
		},
	}
}

func apt(_ context.Context, h Host) Finding {
	if _, err := h.LookPath("apt-get"); err != nil {
		return warn("this host has no apt")
	}
	return ok("apt-get")
}
