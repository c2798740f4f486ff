package system

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"banger/internal/daemonstart"
	"banger/internal/rootapi"
	"banger/test/harness/session"
)

// driverEnv names the driver to test.
const driverEnv = "BANGER_TEST_DRIVER"

// settings is config.toml: small guests, which start one after the other on a
// machine that may itself be emulated.
const settings = `image = "tiny"
vcpus = 1
memory = "256M"
disk = "128M"
boot_timeout = "3m"
grace = "1m"
builder_image = "builder"
`

// TestMain runs the tests as the installation's owner.
func TestMain(m *testing.M) {
	if status, ran := session.AsOwner(); ran {
		os.Exit(status)
	}
	// All scripts use the one daemon.
	flag.Parse()
	if err := flag.Set("test.parallel", "1"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestSessions(t *testing.T) {
	if os.Getenv(session.SystemEnv) == "" {
		t.Skipf("needs a machine whose installed banger is there for tests, and %s=1: the lab host is one", session.SystemEnv)
	}
	driver := driverHere()
	t.Logf("VMs run by %s", driver)
	config := settings + fmt.Sprintf("driver = %q\n", driver)
	if driver == rootapi.QEMU {
		config += "accel = \"kvm\"\n" // the probe gives a machine that is emulated too little time
	}
	options := session.System(t, session.Options{Config: config})
	kernel, release := kernelHere(t)
	options.Env = []string{"DRIVER=" + driver, "KERNEL=" + kernel, "RELEASE=" + release, "ROOT=/", "BYTES=3000000"}
	for _, s := range sessions {
		if s.more && testing.Short() {
			s.not = "-short: it takes long, and others have the most of it"
		}
		if s.not != "" {
			t.Logf("NOT RUN %s: %s", s.name, s.not)
			continue
		}
		options.Files = append(options.Files, filepath.FromSlash("../"+s.name))
	}
	session.Run(t, options)
}

// kernelHere is the kernel of VMs where no other is asked for.
func kernelHere(t *testing.T) (name, release string) {
	kernels, err := daemonstart.System().Kernels().List(t.Context())
	if err != nil || len(kernels) == 0 || len(kernels[0].Names) == 0 {
		t.Fatal("no kernel", kernels, err)
	}
	return kernels[0].Names[0], kernels[0].Release
}

// driverHere is the driver to test: the one that is asked for, or this machine has.
func driverHere() string {
	_, err := exec.LookPath(rootapi.Firecracker)
	switch driver := os.Getenv(driverEnv); {
	case driver != "":
		return driver
	case err == nil:
		return rootapi.Firecracker
	}
	return rootapi.QEMU
}
