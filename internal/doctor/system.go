package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/rootapi"
)

// System gives the doctor access to system mode. Nil functions are skipped: without a
// daemon the VMs are unknown.
type System struct {
	Version string // version of the caller
	Helper  Helper
	Drivers []driver.Driver // in order of preference
	// Driver is the one named in the settings; empty or "auto": the first that works.
	Driver   string
	Unit     func(ctx context.Context, name string) (Unit, error)
	Resolver func() netip.Addr // invalid: none
	// Lookup returns the IPv4 addresses that this host's programs find for a name.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// VMs returns the running VMs, each with the use of its disk.
	VMs func(ctx context.Context) ([]api.VM, error)
	// Snapshots is the disk driver whose disks fail when they are full.
	Snapshots string
	Leaks     func(ctx context.Context) (api.Leaks, error)
}

// Helper is bangerd-root, accessed by rootapi.Client.
type Helper interface {
	Do(ctx context.Context, call rootapi.Call, answer any, files ...*os.File) ([]*os.File, error)
}

// Unit is the state of a systemd unit.
type Unit struct{ Active, Enabled, Result string }

const restartBoth = "sudo banger system restart   (VMs keep running)"

// systemMode returns the checks of system mode, in display order.
func systemMode() []source {
	all := []source{
		one(Check{Name: "root helper", Run: helper, Why: "it does what requires root; without it no VM starts or stops", Fix: restartBoth}),
		commandLinks, units, host, one(Check{Name: "resolver", Run: resolver, Why: "guests' DNS requests go to the host's resolver",
			Fix: "add one to /etc/resolv.conf that is not a loopback address"}), one(namesCheck),
		disks, one(Check{Name: "leaks", Run: leftovers, Why: "objects without a VM use space, addresses and memory until the next boot",
			Fix: "banger doctor --leaks   lists them; sudo banger system restart   removes them"}),
	}
	for _, c := range packages() {
		all = append(all, one(c))
	}
	for _, c := range namespaces() {
		all = append(all, one(c))
	}
	for _, c := range resources() {
		if c.Name != "reflink" { // disks are snapshots, not qcow2 overlays
			all = append(all, one(c))
		}
	}
	for _, c := range []Check{lvmCheck(), settingsCheck(), storeCheck("journalctl -e -u bangerd"), stagingCheck("sudo systemctl restart bangerd   (VMs keep running)")} {
		all = append(all, one(c))
	}
	return all
}

func helper(ctx context.Context, h Host) Finding {
	var hello rootapi.HelloAnswer
	if _, err := h.System.Helper.Do(ctx, rootapi.HelloCall{}, &hello); err != nil {
		e := api.AsError(err)
		return Finding{Status: Fail, Found: e.Message, Fix: e.Hint}
	}
	if hello.Version != h.System.Version {
		return warn(fmt.Sprintf("bangerd-root is version %s, this is version %s", hello.Version, h.System.Version))
	}
	return ok("answers, version " + hello.Version)
}

// units checks both services.
func units(ctx context.Context, h Host) []api.Check {
	if h.System.Unit == nil {
		return nil
	}
	var all []api.Check
	for _, name := range []string{"bangerd-root", "bangerd"} {
		c := Check{Name: name + ".service", Why: "systemd starts it again, also after a boot", Fix: "sudo systemctl enable --now " + name}
		c.Run = func(ctx context.Context, h Host) Finding {
			u, err := h.System.Unit(ctx, name+".service")
			switch {
			case err != nil:
				return Finding{Status: Warn, Found: "cannot find out: " + api.AsError(err).Message, Fix: "systemctl status " + name}
			case u.Active != "active":
				return fail(fmt.Sprintf("%s (%s)", u.Active, u.Result))
			case u.Enabled != "enabled":
				return warn("active, but " + cmp.Or(u.Enabled, "not enabled") + ": it does not start at the next boot")
			}
			return ok("active and enabled")
		}
		all = append(all, c.ask(ctx, h))
	}
	return all
}

// host reports what the helper finds out about the host.
func host(ctx context.Context, h Host) []api.Check {
	var found rootapi.CheckAnswer
	if _, err := h.System.Helper.Do(ctx, rootapi.CheckCall{Network: true}, &found); err != nil {
		return nil // the check of the helper reports why
	}
	all := []api.Check{
		report(Check{Name: "device-mapper", Why: "a disk is a snapshot of its image, made without copying; without it every disk is a copy or a reflink",
			Fix: "sudo modprobe dm_snapshot"}, unless(found.DeviceMapper, Warn, "works")),
		report(Check{Name: "kvm", Why: "with KVM a sandbox runs at the speed of this machine; without, QEMU emulates the processor, several times slower",
			Fix: "turn on virtualization in the firmware, or nested virtualization if this is a virtual machine; then: sudo modprobe kvm_intel || sudo modprobe kvm_amd"},
			unless(found.KVM, Warn, "/dev/kvm can be opened")),
	}
	all = append(all, vmm(Check{Name: "firecracker", Why: "it starts a sandbox fastest and isolates it best; QEMU works without it"}, found.Firecracker)...)
	all = append(all, vmm(Check{Name: "qemu", Why: "it runs sandboxes if Firecracker or KVM is missing"}, found.QEMU)...)
	all = append(all, report(Check{Name: "driver", Why: "it runs the sandboxes that do not select another one"}, chosen(ctx, h.System)))
	return append(all, found.Network...)
}

func unless(reason, status, good string) Finding {
	if reason != "" {
		return Finding{Status: status, Found: reason}
	}
	return ok(good)
}

// vmm makes one line for a VMM, and one for each known issue of it.
func vmm(c Check, found rootapi.VMMCheck) []api.Check {
	if found.Version == "" {
		return []api.Check{report(c, Finding{Status: Warn, Found: found.Reason, Fix: found.Hint})}
	}
	all := []api.Check{report(c, ok(where(found)))}
	for _, w := range found.Warnings {
		c.Fix = "sudo banger system firecracker   installs both programs of the newest release"
		all = append(all, report(c, warn(w)))
	}
	return all
}

// where describes which VMM it is, and which of several programs.
func where(v rootapi.VMMCheck) string {
	if v.Path == "" {
		return v.Version
	}
	return v.Version + " at " + v.Path
}

// chosen checks the driver of VMs that do not select one.
func chosen(ctx context.Context, s *System) Finding {
	if s.Drivers == nil {
		return ok("not checked without a daemon")
	}
	var last error
	for _, d := range s.Drivers {
		if s.Driver != "" && s.Driver != "auto" && s.Driver != d.Name() {
			continue
		}
		can, err := d.Probe(ctx, "", "")
		if err == nil {
			return ok(fmt.Sprintf("%s (%s)", d.Name(), cmp.Or(can.Accel, "the first start shows whether KVM works")))
		}
		last = err
	}
	if last == nil {
		return Finding{Status: Fail, Found: fmt.Sprintf("%q is not a valid driver", s.Driver), Fix: "banger config   shows where it is set"}
	}
	e := api.AsError(last)
	return Finding{Status: Fail, Found: "none works: " + e.Message, Fix: cmp.Or(e.Hint, "sudo apt-get install qemu-system-x86")}
}

func resolver(_ context.Context, h Host) Finding {
	if h.System.Resolver == nil {
		return ok("not checked without a daemon")
	}
	if a := h.System.Resolver(); a.IsValid() {
		return ok(a.String())
	}
	return warn("the host has no IPv4 resolver that guests can reach")
}

func leftovers(ctx context.Context, h Host) Finding {
	if h.System.Leaks == nil {
		return ok("not checked without a daemon")
	}
	found, err := h.System.Leaks(ctx)
	switch {
	case err != nil:
		return warn("cannot find out: " + api.AsError(err).Message)
	case len(found.Leaks) > 0:
		return warn(fmt.Sprintf("%d of %d objects", len(found.Leaks), found.Objects))
	}
	return ok(fmt.Sprintf("none (objects on the host: %d, VMs: %d)", found.Objects, found.VMs))
}

// almostFull is the use from which a disk is reported: it can fail when it is full.
const almostFull = 80 // per cent

// disks checks the snapshots of running VMs: a line for each that is almost full or
// broken, and one for the others.
func disks(ctx context.Context, h Host) []api.Check {
	if h.System.VMs == nil {
		return nil
	}
	c := Check{Name: "disks of VMs", Why: "a full snapshot fails, and with it the file system of its VM"}
	vms, err := h.System.VMs(ctx)
	if err != nil {
		return []api.Check{report(c, warn("cannot find out: "+api.AsError(err).Message))}
	}
	var all []api.Check
	fullest, name := int64(0), ""
	for _, v := range vms {
		u := v.DiskUsage
		if v.PID == 0 || v.DiskDriver != h.System.Snapshots || u == nil || u.Broken == "" && u.TotalBytes == 0 {
			continue
		}
		percent := u.UsedBytes * 100 / max(u.TotalBytes, 1) // the kernel reports no sizes of a broken one
		d := c
		d.Name = "disk of " + v.Name
		switch {
		case u.Broken != "":
			d.Fix = fmt.Sprintf("free space on the host's disk, then: banger vm kill %[1]s && banger vm start %[1]s   (docs/runbook.md)", v.Name)
			all = append(all, report(d, fail("broken: "+u.Broken)))
		case percent >= almostFull:
			d.Fix = fmt.Sprintf("space that was written once stays in use: copy out what you need (banger vm cp %s:DIR DIR) and create a new VM", v.Name)
			all = append(all, report(d, warn(fmt.Sprintf("%d %% full", percent))))
		default:
			if percent >= fullest {
				fullest, name = percent, v.Name
			}
		}
	}
	switch {
	case name != "":
		return append(all, report(c, ok(fmt.Sprintf("the fullest of the others is %s, %d %% full", name, fullest))))
	case len(all) == 0:
		return append(all, report(c, ok("no running VM has a snapshot")))
	}
	return all
}
