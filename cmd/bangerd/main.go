// Bangerd is banger's daemon: it decides and remembers everything.
package main

import (
	"os"

	"banger/internal/buildinfo"
	"banger/internal/daemon"
	"banger/internal/image"
	"banger/internal/publish"
)

func main() {
	image.Main()   // runs a step of an image's making, where we were started for one
	publish.Main() // serves the published ports of a VM, where we were started for that
	info := buildinfo.Get()
	os.Exit(daemon.Main(os.Args[1:], daemon.Program{Version: info.Version, Commit: info.Commit, Build: build}))
}
