// Command banger-agent is the first process of a banger guest.
package main

import (
	"os"

	bootup "banger/internal/agent/boot"
	"banger/internal/agent/sshd"
	"banger/internal/buildinfo"
)

func main() {
	sshd.SFTPMain()
	os.Exit(bootup.Main(buildinfo.Get().Version))
}
