package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/rootapi"
)

// fakeHelper answers as a test says.
type fakeHelper struct {
	hello rootapi.HelloAnswer
	check rootapi.CheckAnswer
	names rootapi.NamesAnswer
	err   error
}

func (f fakeHelper) Do(_ context.Context, call rootapi.Call, answer any, _ ...*os.File) ([]*os.File, error) {
	if f.err != nil {
		return nil, f.err
	}
	var says any = f.hello
	if c, ok := call.(rootapi.CheckCall); ok {
		if !c.Network {
			return nil, errors.New("the firewall must be looked at")
		}
		says = f.check
	}
	if _, ok := call.(rootapi.NamesCall); ok {
		says = f.names
	}
	data, err := json.Marshal(says)
	if err != nil {
		return nil, err
	}
	return nil, json.Unmarshal(data, answer)
}

// fakeDriver can do what a test says.
type fakeDriver struct {
	driver.Driver
	name string
	can  driver.Capability
	err  error
}

func (d fakeDriver) Name() string { return d.name }
func (d fakeDriver) Probe(context.Context, string, string) (driver.Capability, error) {
	return d.can, d.err
}

// goodSystem is a machine on which all of system mode is well.
func goodSystem() Host {
	h := good()
	h.System = &System{
		Version: "1.0",
		Helper: fakeHelper{
			hello: rootapi.HelloAnswer{Version: "1.0"},
			check: rootapi.CheckAnswer{
				Firecracker: rootapi.VMMCheck{Version: "1.16.0"}, QEMU: rootapi.VMMCheck{Version: "installed"},
				Network: []api.Check{{Name: "forwarding", Status: OK, Found: "it is on", Why: "guests need it"}},
			},
		},
		Drivers: []driver.Driver{
			fakeDriver{name: "firecracker", can: driver.Capability{Accel: "kvm"}}, fakeDriver{name: "qemu", can: driver.Capability{Accel: "tcg"}},
		},
		Unit:     func(context.Context, string) (Unit, error) { return Unit{Active: "active", Enabled: "enabled"}, nil },
		Resolver: func() netip.Addr { return netip.MustParseAddr("192.0.2.53") },
		VMs: func(context.Context) ([]api.VM, error) {
			return []api.VM{snapshot("dev", 10, ""), {Name: "stopped"}, {Name: "plain", PID: 1, DiskDriver: "copy", DiskUsage: &api.DiskUsage{UsedBytes: 99, TotalBytes: 99}}}, nil
		},
		Snapshots: "dm-snapshot",
		Leaks:     func(context.Context) (api.Leaks, error) { return api.Leaks{Objects: 8, VMs: 1}, nil },
	}
	return h
}

// snapshot is a VM that runs; of one whose disk is broken the kernel tells no sizes.
func snapshot(name string, percent int64, broken string) api.VM {
	if broken != "" {
		return api.VM{Name: name, PID: 7, DiskDriver: "dm-snapshot", DiskUsage: &api.DiskUsage{Broken: broken}}
	}
	return api.VM{Name: name, PID: 7, DiskDriver: "dm-snapshot", DiskUsage: &api.DiskUsage{UsedBytes: percent, TotalBytes: 100}}
}

func TestAllIsWellInSystemMode(t *testing.T) {
	bare := goodSystem()
	bare.System = &System{Version: "1.0", Helper: bare.System.Helper} // as the CLI asks, without a daemon
	for name, h := range map[string]Host{"daemon": goodSystem(), "no daemon": bare} {
		seen := map[string]bool{}
		for _, c := range Run(t.Context(), h) {
			if c.Status != OK || c.Found == "" || c.Why == "" || c.Fix != "" {
				t.Errorf("%s: %+v", name, c)
			}
			if seen[c.Name] {
				t.Errorf("%s: %s is asked twice", name, c.Name)
			}
			seen[c.Name] = true
		}
		for _, check := range []string{"root helper", "device-mapper", "kvm", "firecracker", "qemu", "driver", "forwarding", "e2fsprogs", "apt", "subordinate ids", "space for data", "settings", "store"} {
			if !seen[check] {
				t.Errorf("%s: nobody asks for %s", name, check)
			}
		}
		for _, check := range []string{"reflink", "daemon log"} {
			if seen[check] {
				t.Errorf("%s: %s makes no sense here", name, check)
			}
		}
	}
}

func TestFindingsOfSystemMode(t *testing.T) {
	helper := func(change func(f *fakeHelper)) func(*System) {
		return func(s *System) {
			f := s.Helper.(fakeHelper)
			change(&f)
			s.Helper = f
		}
	}
	failed := api.Errorf(api.KindUnsupported, "it is broken").WithHint("mend it")
	for _, c := range []struct {
		change                    func(*System)
		check, status, found, fix string
	}{
		{helper(func(f *fakeHelper) { f.err = failed }), "root helper", Fail, "it is broken", "mend it"},
		{helper(func(f *fakeHelper) { f.hello.Version = "0.9" }), "root helper", Warn, "bangerd-root is version 0.9, this is version 1.0", "system restart"},
		{helper(func(f *fakeHelper) { f.check.DeviceMapper = "no driver" }), "device-mapper", Warn, "no driver", "modprobe"},
		{helper(func(f *fakeHelper) { f.check.KVM = "no /dev/kvm" }), "kvm", Warn, "no /dev/kvm", "firmware"},
		{helper(func(f *fakeHelper) {
			f.check.Firecracker = rootapi.VMMCheck{Reason: "not installed", Hint: "get it"}
		}), "firecracker", Warn, "not installed", "get it"},
		{helper(func(f *fakeHelper) { f.check.Firecracker.Warnings = []string{"CVE-1"} }), "firecracker", Warn, "CVE-1", "sudo banger system firecracker "},
		{helper(func(f *fakeHelper) { f.check.Firecracker.Path = "/opt/firecracker" }), "firecracker", OK, "1.16.0 at /opt/firecracker", ""},
		{helper(func(f *fakeHelper) { f.check.QEMU = rootapi.VMMCheck{Reason: "not there", Hint: "apt-get"} }), "qemu", Warn, "not there", "apt-get"},
		{helper(func(f *fakeHelper) { f.check.Network[0].Status = Fail }), "forwarding", Fail, "it is on", ""},
		{func(s *System) { s.Drivers = s.Drivers[1:] }, "driver", OK, "qemu (tcg)", ""},
		{func(s *System) { s.Driver = "qemu" }, "driver", OK, "qemu (tcg)", ""},
		{func(s *System) { s.Driver = "vmware" }, "driver", Fail, `"vmware"`, "config"},
		{func(s *System) { s.Drivers = []driver.Driver{fakeDriver{err: failed}} }, "driver", Fail, "it is broken", "mend it"},
		{func(s *System) {
			s.Unit = func(context.Context, string) (Unit, error) { return Unit{Active: "failed", Result: "oom-kill"}, nil }
		}, "bangerd-root.service", Fail, "failed (oom-kill)", "systemctl"},
		{func(s *System) {
			s.Unit = func(context.Context, string) (Unit, error) {
				return Unit{Active: "active", Enabled: "disabled"}, nil
			}
		}, "bangerd.service", Warn, "disabled", "enable --now bangerd"},
		{func(s *System) { s.Unit = func(context.Context, string) (Unit, error) { return Unit{}, failed } }, "bangerd.service", Warn, "broken", "status"},
		{func(s *System) { s.Resolver = func() netip.Addr { return netip.Addr{} } }, "resolver", Warn, "no IPv4 resolver", "resolv.conf"},
		{func(s *System) {
			s.VMs = func(context.Context) ([]api.VM, error) {
				return []api.VM{snapshot("a", 80, ""), snapshot("b", 79, ""), snapshot("c", 5, "")}, nil
			}
		}, "disk of a", Warn, "80 % full", "vm cp a:"},
		{func(s *System) {
			s.VMs = func(context.Context) ([]api.VM, error) {
				return []api.VM{snapshot("a", 80, ""), snapshot("b", 79, ""), snapshot("c", 5, "")}, nil
			}
		}, "disks of VMs", OK, "the fullest of the others is b, 79 % full", ""},
		{func(s *System) {
			s.VMs = func(context.Context) ([]api.VM, error) { return []api.VM{snapshot("a", 0, "invalid")}, nil }
		}, "disk of a", Fail, "broken: invalid", "banger vm kill a && banger vm start a"},
		{func(s *System) { s.VMs = func(context.Context) ([]api.VM, error) { return nil, failed } }, "disks of VMs", Warn, "broken", ""},
		{func(s *System) { s.VMs = func(context.Context) ([]api.VM, error) { return nil, nil } }, "disks of VMs", OK, "no running VM has a snapshot", ""},
		{func(s *System) {
			s.Leaks = func(context.Context) (api.Leaks, error) {
				return api.Leaks{Leaks: make([]api.Leak, 2), Objects: 9}, nil
			}
		}, "leaks", Warn, "2 of 9", "--leaks"},
		{func(s *System) { s.Leaks = func(context.Context) (api.Leaks, error) { return api.Leaks{}, failed } }, "leaks", Warn, "broken", "--leaks"},
	} {
		h := goodSystem()
		c.change(h.System)
		hit := false
		for _, got := range Run(t.Context(), h) {
			hit = hit || got.Name == c.check && got.Status == c.status && strings.Contains(got.Found, c.found) && strings.Contains(got.Fix, c.fix)
		}
		if !hit {
			t.Errorf("no %q with %s and %q in %+v", c.check, c.status, c.found, Run(t.Context(), h))
		}
	}
}

// TestAskedTogether: questions that wait do not wait for each other.
func TestAskedTogether(t *testing.T) {
	h := goodSystem()
	meet := make(chan bool)
	h.System.Leaks = func(ctx context.Context) (api.Leaks, error) {
		select {
		case meet <- true:
		case <-time.After(10 * time.Second):
			t.Error("nobody else is asked meanwhile")
		}
		return api.Leaks{}, nil
	}
	h.System.Resolver = func() netip.Addr {
		<-meet
		return netip.MustParseAddr("192.0.2.53")
	}
	Run(t.Context(), h)
}
