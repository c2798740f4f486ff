package instance

import (
	"os"
	"path/filepath"
	"testing"

	"banger/internal/driver"
	"banger/internal/paths"
	"banger/internal/vm/tasks"
)

func TestWhyPanicked(t *testing.T) {
	s := New(Options{Paths: paths.Paths{Data: t.TempDir()}}, tasks.New())
	const id = "0123456789ab"
	log := filepath.Join(s.Paths.VM(id), paths.VMConsole)
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	const boot = "banger-agent: root /dev/vda mounted (ext4)\nbanger-agent: starting /sbin/init\n"
	const died = "[    3.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n[    3.2] CPU: 0 PID: 1\r\n"
	const why = "the guest's init ended: Attempted to kill init! exitcode=0x00000100"
	for _, c := range []struct {
		exit          driver.Exit
		console, want string
	}{
		{driver.Exit{Code: 0}, boot + died, why},
		{driver.Exit{Code: unknown}, boot + died + "Call Trace:\n", why},
		{driver.Exit{Code: 0}, boot + "Kernel panic - not syncing: sysrq triggered\x1b[2J crash", "the guest's kernel panicked: sysrq triggered^[[2J crash"},
		{driver.Exit{Code: 0}, boot + died + boot + "[  9.1] reboot: Power down\n", ""}, // of the boot before
		{driver.Exit{Code: 1}, boot + died, ""},
		{driver.Exit{Code: 0, Message: "a bug"}, boot + died, ""},
		{driver.Exit{Code: 0}, "", ""},
	} {
		if err := os.WriteFile(log, []byte(c.console), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := s.whyPanicked(id, c.exit); got != c.want {
			t.Errorf("%+v, console %q: %q", c.exit, c.console, got)
		}
	}
}
