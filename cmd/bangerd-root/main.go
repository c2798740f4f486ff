// Bangerd-root is banger's root helper: it executes a closed list of verbs for the
// owner's daemon.
package main

import (
	"os"

	"banger/internal/buildinfo"
	"banger/internal/roothelper"
)

func main() {
	info := buildinfo.Get()
	os.Exit(roothelper.Main(os.Args[1:], info.Version, info.Commit))
}
