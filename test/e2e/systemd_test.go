package e2e

import (
	"os"
	"testing"

	"banger/test/harness"
	"banger/test/harness/guests"
	"banger/test/harness/session"
)

// dockerPackages make a machine of minbase: an init, a bus, what makes devices, and
// Docker Engine as the distribution has it.
var dockerPackages = []string{"systemd", "systemd-sysv", "dbus", "udev", "kmod", "docker.io", "iptables", "iproute2", "procps", "curl"}

// TestSystemd: guests that boot an image's own init, or fail to.
func TestSystemd(t *testing.T) {
	programs := build(t)
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	home := systemdHome(t)
	banger(t, home, "vm", "run", "--rm", "--", "true")
	banger(t, home, "daemon", "stop")
	options := session.Options{Dir: "testdata/systemd", Template: home, Config: settings}
	options.Idle = session.Measure(t, options)
	session.Run(t, options)
}

// systemdHome is the home of the other tests with an image of its own, made once.
func systemdHome(t *testing.T) string {
	archive, err := guests.Distribution(t.Context(), "docker", dockerPackages)
	if err != nil {
		t.Fatal(err)
	}
	base := template(t)
	home, err := harness.Once("home-systemd", base+" "+archive, func(dir string) error {
		if err := harness.CopyTree(base, dir); err != nil {
			return err
		}
		if err := guests.Run(t.Context(), dir, "image", "import", archive, "docker"); err != nil {
			return err
		}
		return guests.Run(t.Context(), dir, "daemon", "stop")
	})
	if err != nil {
		t.Fatal(err)
	}
	return home
}
