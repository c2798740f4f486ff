// Bangerd is banger's daemon: it decides and remembers everything.
package main

import (
	"os"

	"banger/internal/buildinfo"
	"banger/internal/daemon"
)

func main() {
	info := buildinfo.Get()
	os.Exit(daemon.Main(os.Args[1:], daemon.Program{Version: info.Version, Commit: info.Commit, Build: build}))
}
