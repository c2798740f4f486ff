// Package fakes has the real banger and bangerd over fake machines, in one test program
// that starts itself as each of them.
package fakes

import (
	"cmp"
	"os"

	"banger/internal/buildinfo"
	"banger/internal/cli"
	"banger/internal/daemon"
	"banger/internal/driver/fake"
	"banger/internal/driver/qemu"
	"banger/internal/image"
	"banger/internal/publish"
)

// Become returns at once, unless this process was started to be a fake VMM, a forwarder, to save a VM or
// a part of the image cache: then it is that, and exits. TestMain calls it first.
func Become() {
	fake.GuestMain()
	image.Main()
	publish.Main()
	qemu.Main()
}

// Programs are banger, under both of its names, and bangerd, for testscript.Main.
func Programs() map[string]func() {
	return map[string]func(){
		cli.GitRemoteProgram: func() { os.Exit(cli.GitRemote(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"banger":             func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"bangerd": func() {
			info := buildinfo.Get()
			version := cmp.Or(os.Getenv("TEST_DAEMON_VERSION"), info.Version)
			os.Exit(daemon.Main(os.Args[1:], daemon.Program{Version: version, Commit: info.Commit, Build: Build}))
		},
	}
}
