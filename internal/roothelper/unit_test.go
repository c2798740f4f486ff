package roothelper

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/internal/rootapi"
)

// exposure is the highest score, in tenths, that `systemd-analyze security` may give
// a VM's unit: 0 is a sandbox, 100 is everything. Firecracker's is what the jailer needs.
var exposure = map[string]string{rootapi.Firecracker: "40", rootapi.QEMU: "30"}

// TestUnitsOfVMsForSystemd has systemd itself score the units.
func TestUnitsOfVMsForSystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: nothing scores the units here, but the lab does")
	}
	for vmm, threshold := range exposure {
		t.Run(vmm, func(t *testing.T) {
			w := newFixture(t)
			w.blocks.attached[vm] = true
			c := w.startCall(vm, 1)
			c.VMM = vmm
			s, err := w.prepare(t.Context(), c, w.logs)
			w.check(err)
			defer s.close()
			text, err := s.unit.File()
			w.check(err)
			path := filepath.Join(w.dir(), s.unit.Name)
			w.check(os.WriteFile(path, []byte(text), 0o644))
			out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold="+threshold, path).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s\n%s", err, out, text)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Log(lines[len(lines)-1])
		})
	}
}

// TestLimitsOfUnits: what a VM may take of the host follows from its size.
func TestLimitsOfUnits(t *testing.T) {
	w := newFixture(t)
	c := w.startCall(vm, 1)
	c.VCPUs, c.MemoryMiB = 3, 1024
	u := w.unit(c, w.logs)
	if u.MemoryMax != (1024+768)<<20 || u.CPUQuota != 3500*time.Millisecond || u.TasksMax != 67 || u.TimeoutStop != 5*time.Second {
		t.Errorf("%+v", u)
	}
}

// TestDevicesOfVMs: Firecracker's jailer makes nodes, of /dev/userfaultfd if the host has
// one; its number is another at each boot. QEMU makes none.
func TestDevicesOfVMs(t *testing.T) {
	const tunAndKVM = "/dev/char/10:232 %[1]s, /dev/char/10:200 %[1]s, "
	for name, c := range map[string]struct {
		vmm, misc, want string
	}{
		"Firecracker":                 {rootapi.Firecracker, "234 btrfs-control\n126 userfaultfd\n232 kvm\n", fmt.Sprintf(tunAndKVM, "rwm") + "/dev/char/10:126 m, /dev/block/7:0 rw"},
		"a number of two digits":      {rootapi.Firecracker, " 58 userfaultfd\n", fmt.Sprintf(tunAndKVM, "rwm") + "/dev/char/10:58 m, /dev/block/7:0 rw"},
		"without the device":          {rootapi.Firecracker, "232 kvm\n", fmt.Sprintf(tunAndKVM, "rwm") + "/dev/block/7:0 rw"},
		"without the list of devices": {rootapi.Firecracker, "", fmt.Sprintf(tunAndKVM, "rwm") + "/dev/block/7:0 rw"},
		"QEMU":                        {rootapi.QEMU, "126 userfaultfd\n", fmt.Sprintf(tunAndKVM, "rw") + "/dev/block/7:0 rw"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.blocks.attached[vm] = true
			if c.misc != "" {
				w.check(os.WriteFile(filepath.Join(w.Host.Proc, "misc"), []byte(c.misc), 0o444))
			}
			call := w.startCall(vm, 1)
			call.VMM = c.vmm
			var got []string
			for _, d := range w.devices(call) {
				got = append(got, d.Path+" "+d.Access)
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
			w.blocks.attached[vm] = false
			if d := w.devices(call); len(d) != len(got)-1 || strings.Contains(fmt.Sprint(d), "/dev/block/") {
				t.Errorf("without a disk: %v", d)
			}
		})
	}
}
