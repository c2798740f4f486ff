package qemu

import (
	"strings"
	"testing"

	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/golden"
	"banger/internal/host/proc"
)

func plainSpec() driver.Spec {
	return driver.Spec{
		ID: "0123456789ab", Dir: "/vms/0123456789ab", VCPUs: 2, MemoryBytes: 512 << 20,
		Kernel: "/kernels/vmlinux", Initramfs: "/kernels/initramfs", Cmdline: "quiet banger.hostname=calm-fox",
		Disk: "/vms/0123456789ab/disk", DiskFormat: disk.Raw,
	}
}

func TestArgs(t *testing.T) {
	odd := plainSpec()
	odd.Dir = "/home/a,b/ü \"quoted\" $HOME/id=x,server=on"
	odd.Disk = odd.Dir + "/disk"
	odd.Kernel, odd.DiskFormat, odd.Cmdline = odd.Dir+"/vmlinux", disk.Qcow2, ""
	isolated := plainSpec()
	isolated.Isolated = true
	for name, args := range map[string][]string{
		"isolated":  Args(isolated, KVM, Files{QMP: 3, Agent: 4}),
		"kvm":       Args(plainSpec(), KVM, Files{QMP: 3, Agent: 4}),
		"tcg":       Args(plainSpec(), TCG, Files{QMP: 3, Agent: 4}),
		"odd-names": Args(odd, TCG, Files{QMP: 3, Agent: 4}),
		"restored":  RestoreArgs(plainSpec(), TCG, Files{QMP: 3, Agent: 4}, "/vms/a,b/saved/ram"),
	} {
		golden.Check(t, name+".golden", strings.Join(args, "\n")+"\n")
	}
	args := probeArgs(machineArgs(KVM), "/kernels/vmlinux", "/kernels/initramfs", "earlyprintk=ttyS0 console=ttyS0 reboot=t panic=-1 banger.probe=1")
	golden.Check(t, "probe.golden", strings.Join(args, "\n")+"\n")
	args = probeArgs(countedArgs(), "/kernels/vmlinux", "/kernels/initramfs", "console=ttyS0 banger.probe=1")
	golden.Check(t, "counted.golden", strings.Join(args, "\n")+"\n")
}

func TestBelongsTo(t *testing.T) {
	s := plainSpec()
	args := append([]string{"qemu"}, Args(s, KVM, Files{})...)
	if !belongsTo(s.ID, s.Dir)(args) {
		t.Errorf("its own VM is not recognized")
	}
	for name, is := range map[string]bool{
		"another id":            belongsTo("ba9876543210", s.Dir)(args),
		"another directory":     belongsTo(s.ID, "/vms/0123456789")(args),
		"no arguments":          belongsTo(s.ID, s.Dir)(nil),
		"a grep for it":         belongsTo(s.ID, s.Dir)([]string{"grep", nameArg(s.ID)}),
		"options cut short":     belongsTo(s.ID, s.Dir)([]string{"qemu", "-name"}),
		"a quote in one option": belongsTo(s.ID, s.Dir)([]string{"sh", "-c", strings.Join(args, " ")}),
	} {
		if is {
			t.Errorf("%s: taken for the VM's", name)
		}
	}
	restored := append([]string{"qemu"}, RestoreArgs(s, KVM, Files{}, "/ram")...)
	if !belongsTo(s.ID, s.Dir)(restored) || !isRestored(restored) || isRestored(args) {
		t.Errorf("a restored VM is not recognized, or one that is none is")
	}
	if got := accelOf(args); got != KVM {
		t.Errorf("accelerator %q", got)
	}
	if got := accelOf([]string{"qemu", "-accel"}); got != "" {
		t.Errorf("accelerator %q of a cut command line", got)
	}
	if got := accelOf([]string{"qemu", "-accel", "\x1b[A,thread=multi"}); got != "" {
		t.Errorf("accelerator %q of one that QEMU changed", got)
	}
}

// TestLongPathsAreRecognized: of a command line only the beginning is looked at, and
// that must say whose it is, however long the paths are that do not.
func TestLongPathsAreRecognized(t *testing.T) {
	s := plainSpec()
	s.Dir = "/" + strings.Repeat("d", 2000)
	s.Kernel, s.Initramfs, s.Disk = s.Dir+"/kernel", s.Dir+"/initramfs", s.Dir+"/disk"
	s.Cmdline = strings.Repeat("c", 2000)
	args := append([]string{"/" + strings.Repeat("q", 4000)}, Args(s, TCG, Files{QMP: 3, Agent: 4})...)
	seen := strings.Join(args, "\x00")
	if len(seen) <= proc.MaxCmdline {
		t.Fatalf("%d bytes are looked at whole", len(seen))
	}
	begin := strings.Split(seen[:proc.MaxCmdline], "\x00")
	if begin = begin[:len(begin)-1]; !belongsTo(s.ID, s.Dir)(begin) || accelOf(begin) != TCG {
		t.Errorf("its own VM is not recognized by %d of %d arguments", len(begin), len(args))
	}
}
