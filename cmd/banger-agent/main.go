// Command banger-agent is the first process of a banger guest.
package main

import (
	"os"

	bootup "banger/internal/agent/boot"
	"banger/internal/buildinfo"
)

func main() { os.Exit(bootup.Main(buildinfo.Get().Version)) }
