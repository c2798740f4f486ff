// Command banger-agent is the first process of a banger guest.
package main

import (
	"os"

	"banger/internal/buildinfo"
	bootup "banger/internal/guest/agent/boot"
	"banger/internal/guest/agent/sshd"
)

func main() {
	sshd.SFTPMain()
	os.Exit(bootup.Main(buildinfo.Get().Version))
}
