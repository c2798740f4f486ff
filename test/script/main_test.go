package script

import (
	"cmp"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/internal/buildinfo"
	"banger/internal/cli"
	"banger/internal/daemon"
	"banger/internal/driver/fake"
	"banger/internal/image"
	"banger/internal/publish"
)

// TestMain is banger, bangerd, a fake VMM and the parts of the image cache that
// run as processes of their own: the test program starts itself as all of them.
func TestMain(m *testing.M) {
	fake.GuestMain()
	image.Main()
	publish.Main()
	testscript.Main(m, map[string]func(){
		"banger": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"bangerd": func() {
			info := buildinfo.Get()
			version := cmp.Or(os.Getenv("TEST_DAEMON_VERSION"), info.Version)
			os.Exit(daemon.Main(os.Args[1:], daemon.Program{Version: version, Commit: info.Commit, Build: build}))
		},
		"testport": func() { os.Exit(testPort(os.Args[1:])) },
	})
}
