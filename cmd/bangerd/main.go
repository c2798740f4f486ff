// Bangerd is banger's daemon: it decides and remembers everything.
package main

import (
	"os"

	"banger/internal/buildinfo"
	"banger/internal/daemon"
	"banger/internal/image"
)

func main() {
	image.Main() // runs a step of an image's making, where we were started for one
	info := buildinfo.Get()
	os.Exit(daemon.Main(os.Args[1:], daemon.Program{Version: info.Version, Commit: info.Commit, Build: build}))
}
