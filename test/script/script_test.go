package script

import (
	"fmt"
	"testing"

	"banger/internal/config"
	"banger/test/harness"
	"banger/test/harness/fakes"
	"banger/test/harness/session"
)

// settings is config.toml: small machines, short waits.
const settings = `driver = "fake"
image = "tiny"
vcpus = 1
memory = "256M"
disk = "%dM"
boot_timeout = "20s"
grace = "5s"
https_proxy = "%s"
`

func TestScripts(t *testing.T) {
	template, size, err := fakes.Home(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent, err := fakes.Agent(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	options := session.Options{
		Dir: "testdata", Template: template, Config: fmt.Sprintf(settings, size>>20, fakes.Nowhere),
		Env: []string{"BANGER_AGENT=" + agent, "DRIVER=fake", "KERNEL=fake", "RELEASE=" + harness.KernelRelease, "ROOT=/.*/fake-root", "BYTES=40000000",
			"TWOTHIRDS=" + twoThirds()},
	}
	options.Idle = session.Measure(t, options)
	session.Run(t, options)
}

// twoThirds is the memory of a VM beside which another one does not fit.
func twoThirds() string {
	bytes, _ := config.DetectHost().MemoryFor(config.OwnCgroup())
	return fmt.Sprintf("%dM", bytes/3*2>>20)
}
