package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/system/record"
)

// exposure is the highest score, in tenths, that `systemd-analyze security` may
// give a unit: 0 is a sandbox, 100 is everything. Both unit files say why they
// cannot have the rest.
var exposure = map[string]string{HelperUnit: "53", DaemonUnit: "70"}

// TestUnitsForSystemd has systemd itself read the units, and score them.
func TestUnitsForSystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: nothing checks the units here, but the lab does")
	}
	rendered, err := Units(record.Record{Owner: "root", GID: 0}, false) // an account that every machine has
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var paths []string
	for _, name := range unitNames {
		// Programs that every machine has, too: they must exist.
		text := strings.NewReplacer("/usr/local/lib/banger/current/bangerd-root", "/bin/true", "/usr/local/lib/banger/current/bangerd", "/bin/true",
			"/usr/local/lib/banger/updating/banger", "/bin/true").Replace(rendered[name])
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify"}, paths...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for name, threshold := range exposure {
		text := strings.ReplaceAll(rendered[name], "User=root", "User=1000") // root would score differently
		path := filepath.Join(dir, "scored-"+name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold="+threshold, path).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze security of %s: %v\n%s", name, err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
	}
}
