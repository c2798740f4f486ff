package roothelper

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/rootapi"
)

// exposure is the highest score, in tenths, that `systemd-analyze security` may give
// a VM's unit: 0 is a sandbox, 100 is everything.
const exposure = "40"

// TestUnitsOfVMsForSystemd has systemd itself score the units.
func TestUnitsOfVMsForSystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: nothing scores the units here, but the lab does")
	}
	for _, vmm := range []string{rootapi.Firecracker, rootapi.QEMU} {
		t.Run(vmm, func(t *testing.T) {
			w := newWorld(t)
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
			out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold="+exposure, path).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s\n%s", err, out, text)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Log(lines[len(lines)-1])
		})
	}
}
