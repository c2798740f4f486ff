package instance

import (
	"os"
	"path/filepath"
	"testing"

	"banger/internal/driver"
	"banger/internal/paths"
	"banger/internal/vm/tasks"
)

func TestWhyEnded(t *testing.T) {
	s := New(Options{Paths: paths.Paths{Data: t.TempDir()}}, tasks.New())
	const id, off = "0123456789ab", "the guest powered off"
	log := filepath.Join(s.Paths.VM(id), paths.VMConsole)
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		exit          driver.Exit
		console, want string
	}{
		{driver.Exit{Code: 0}, "", off},
		{driver.Exit{Code: 137}, "", "the VMM ended with status 137"},
		{driver.Exit{Code: 1, Message: "no memory"}, "", "the VMM ended with status 1: no memory"},
		{driver.Exit{Code: -1}, "banger-agent: stopped\n[   37.2] reboot: Restarting system\r\n", off},
		{driver.Exit{Code: -1}, "[   37.2] reboot: Power down", off},
		{driver.Exit{Code: -1, Message: "a bug"}, "reboot: Power down\n", "the VMM ended: a bug"},
		{driver.Exit{Code: -1}, "reboot: Power down\nof the boot before\nbanger-agent: root mounted\n", "the VMM ended"},
		{driver.Exit{Code: -1}, "", "the VMM ended"},
	} {
		if err := os.WriteFile(log, []byte(c.console), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := s.whyEnded(id, c.exit); got != c.want {
			t.Errorf("%+v, console %q: %q", c.exit, c.console, got)
		}
	}
}
