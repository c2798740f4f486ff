// Bangerd is banger's daemon: it makes all decisions and stores the state.
package main

import (
	"os"

	"banger/internal/buildinfo"
	"banger/internal/daemon"
	"banger/internal/driver/qemu"
	"banger/internal/image"
	"banger/internal/publish"
)

func main() {
	image.Main()   // runs a step of building an image, if this process was started for one
	publish.Main() // serves the published ports of a VM, if this process was started for that
	qemu.Main()    // saves the memory of a VM, if this process was started for that
	info := buildinfo.Get()
	os.Exit(daemon.Main(os.Args[1:], daemon.Program{Version: info.Version, Commit: info.Commit, Build: build}))
}
